{% macro report_rows() %}
  {#- Post-hook of every model: says how many rows it has; the command line turns it into progress. -#}
  {%- if execute and flags.WHICH in ('run', 'build') and config.get('materialized') != 'view' and not config.get('lazy') -%}
    {%- do log('rows of ' ~ this.identifier ~ ': ' ~ query_value('select count(*) from ' ~ this), info=true) -%}
  {%- endif -%}
{% endmacro %}
