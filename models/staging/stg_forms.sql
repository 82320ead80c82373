{#- For Spark alone: a merge of DuckDB's computes what it compares. Building this model lands the forms. -#}
{{ config(pre_hook="{{ land_forms() }}") }}
-- depends_on: {{ ref('stg_files') }}
{%- set plan = merge_plan() %}
select *
from {{ landed_forms(plan) }}
