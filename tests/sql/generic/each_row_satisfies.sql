{% test each_row_satisfies(model, condition) %}
{#- The condition holds in every row; one that comes out null does not hold. -#}
select *
from {{ model }}
where not coalesce(({{ condition }}), false)
{% endtest %}
