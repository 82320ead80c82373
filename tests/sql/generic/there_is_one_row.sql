{% test there_is_one_row(model) %}
{#- Neither none nor two. -#}
select count(*) as n_rows
from {{ model }}
having count(*) <> 1
{% endtest %}
