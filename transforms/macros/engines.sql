{#-
    All in which the engines differ. The models say what is computed, once; each macro here has a form per engine,
    chosen by dbt's dispatch. Names are unquoted in the models, since DuckDB quotes by " and Spark by `; only a bare
    window would need quotes in DuckDB, so it is always qualified.
    DuckDB's forms are what the models said before there was another engine.
-#}

{#- A raw table. Spark reads the file; the fixture of a unit test is a CTE, which stays what it is. -#}
{% macro raw(relation) -%}{{ return(adapter.dispatch('raw', 'thaw')(relation)) }}{%- endmacro %}

{% macro duckdb__raw(relation) -%}{{ return(relation) }}{%- endmacro %}

{% macro spark__raw(relation) -%}
    {%- if relation.is_cte -%}{{ return(relation) }}{%- endif -%}
    {%- set folder = env_var('THAW_RAW_DIR', '../data/simulated/raw') -%}
    {{ return('parquet.`' ~ folder ~ '/' ~ relation.identifier ~ '.parquet`') }}
{%- endmacro %}

{#- Every row of a raw table, with a column content whether or not the table has one. -#}
{% macro with_content(relation) -%}{{ return(adapter.dispatch('with_content', 'thaw')(relation)) }}{%- endmacro %}

{% macro duckdb__with_content(relation) -%}
    select * from {{ raw(relation) }}
    union all by name
    select cast(null as float[]) as content where false
{%- endmacro %}

{% macro spark__with_content(relation) -%}
    {%- set missing = 'content' not in columns_of(raw(relation), relation.is_cte) -%}
    select *{{ ', cast(null as array<float>) as content' if missing }} from {{ raw(relation) }}
{%- endmacro %}

{#-
    Spark: names of the columns of a relation, asked of the engine; none while dbt parses, and none of a unit test's
    fixture, which exists in the tested query only.
-#}
{% macro columns_of(relation, is_cte) -%}
    {%- if not execute or is_cte -%}{{ return([]) }}{%- endif -%}
    {{ return(run_query('select * from ' ~ relation ~ ' limit 0').column_names | list) }}
{%- endmacro %}

{% macro list_of(type) -%}{{ return(adapter.dispatch('list_of', 'thaw')(type)) }}{%- endmacro %}

{% macro duckdb__list_of(type) -%}{{ return(type ~ '[]') }}{%- endmacro %}

{% macro spark__list_of(type) -%}{{ return('array<' ~ type ~ '>') }}{%- endmacro %}

{#- A comma and every other column of a raw table than `known` as a list of strings, under its own name. -#}
{% macro features_as_lists(relation, known) -%}
    {{ return(adapter.dispatch('features_as_lists', 'thaw')(relation, known)) }}
{%- endmacro %}

{% macro duckdb__features_as_lists(relation, known) -%}
    , cast(columns(* exclude ({{ known | join(', ') }})) as varchar[])
{%- endmacro %}

{% macro spark__features_as_lists(relation, known) -%}
    {%- for name in columns_of(raw(relation), relation.is_cte) if name not in known -%}
    , cast({{ adapter.quote(name) }} as array<string>) as {{ adapter.quote(name) }}
    {%- endfor -%}
{%- endmacro %}

{#- A comma and every other column of `source` than `known`, an empty list where it has none; `alias` is its name here. -#}
{% macro features_or_empty(alias, source, known) -%}
    {{ return(adapter.dispatch('features_or_empty', 'thaw')(alias, source, known)) }}
{%- endmacro %}

{% macro duckdb__features_or_empty(alias, source, known) -%}
    , coalesce(columns({{ alias }}.* exclude ({{ known | join(', ') }})), [])
{%- endmacro %}

{% macro spark__features_or_empty(alias, source, known) -%}
    {%- for name in columns_of(source, source.is_cte) if name not in known -%}
    {%- set column = adapter.quote(name) -%}
    , coalesce({{ alias }}.{{ column }}, cast(array() as array<string>)) as {{ column }}
    {%- endfor -%}
{%- endmacro %}

{#-
    The discrete quantile of a timestamp, an aggregate: the smallest one at or below which lies a share of the rows.
    DuckDB counts exactly (the share is a decimal). Spark takes numbers only, and multiplies in floating point: where
    share x rows is whole, the product can lie above it by a bit of the last place and the quantile be the next row's.
    10^-15 less is below every such bit and, up to 10^9 rows, above none of a share's first six decimals.
-#}
{% macro discrete_quantile(column, share) -%}
    {{ return(adapter.dispatch('discrete_quantile', 'thaw')(column, share)) }}
{%- endmacro %}

{% macro duckdb__discrete_quantile(column, share) -%}quantile_disc({{ column }}, {{ share }}){%- endmacro %}

{% macro spark__discrete_quantile(column, share) -%}
    {{ from_epoch_us(
        'cast(percentile_disc(cast(' ~ share ~ ' as double) - 1e-15D) within group (order by ' ~ epoch_us(column)
        ~ ') as bigint)'
    ) }}
{%- endmacro %}

{#- Microseconds since 1970 of a timestamp, and back. -#}
{% macro epoch_us(column) -%}{{ return(adapter.dispatch('epoch_us', 'thaw')(column)) }}{%- endmacro %}

{% macro duckdb__epoch_us(column) -%}{{ return('epoch_us(' ~ column ~ ')') }}{%- endmacro %}

{% macro spark__epoch_us(column) -%}{{ return('unix_micros(cast(' ~ column ~ ' as timestamp_ltz))') }}{%- endmacro %}

{% macro from_epoch_us(number) -%}{{ return(adapter.dispatch('from_epoch_us', 'thaw')(number)) }}{%- endmacro %}

{% macro duckdb__from_epoch_us(number) -%}{{ return('make_timestamp(' ~ number ~ ')') }}{%- endmacro %}

{% macro spark__from_epoch_us(number) -%}{{ return('cast(timestamp_micros(' ~ number ~ ') as timestamp_ntz)') }}{%- endmacro %}

{#- Division of whole numbers that are not negative, rounded down. -#}
{% macro int_div(dividend, divisor) -%}{{ return(adapter.dispatch('int_div', 'thaw')(dividend, divisor)) }}{%- endmacro %}

{% macro duckdb__int_div(dividend, divisor) -%}{{ return('(' ~ dividend ~ ') // ' ~ divisor) }}{%- endmacro %}

{% macro spark__int_div(dividend, divisor) -%}{{ return('(' ~ dividend ~ ') div ' ~ divisor) }}{%- endmacro %}

{#- A row per whole number from 0 to below `n` (at least 1), in the list of a select. -#}
{% macro each_below(n) -%}{{ return(adapter.dispatch('each_below', 'thaw')(n)) }}{%- endmacro %}

{% macro duckdb__each_below(n) -%}{{ return('cast(unnest(range(' ~ n ~ ')) as integer)') }}{%- endmacro %}

{% macro spark__each_below(n) -%}{{ return('explode(sequence(0, cast(' ~ n ~ ' - 1 as integer)))') }}{%- endmacro %}

{#-
    A list of `column` in the order of `order`, columns that are a total order, an aggregate. Spark's lists come in no
    order: it sorts them as structs that begin with `order`.
-#}
{% macro in_order(column, order) -%}{{ return(adapter.dispatch('in_order', 'thaw')(column, order)) }}{%- endmacro %}

{% macro duckdb__in_order(column, order) -%}{{ return('list(' ~ column ~ ' order by ' ~ order ~ ')') }}{%- endmacro %}

{% macro spark__in_order(column, order) -%}
    {%- set rows = 'array_sort(collect_list(struct(' ~ order ~ ', ' ~ column ~ ' as entry)))' -%}
    {{ return('transform(' ~ rows ~ ', row -> row.entry)') }}
{%- endmacro %}

{#- The latest of a list of timestamps; the length of a list. -#}
{% macro latest(column) -%}{{ return(adapter.dispatch('latest', 'thaw')(column)) }}{%- endmacro %}

{% macro duckdb__latest(column) -%}{{ return('list_max(' ~ column ~ ')') }}{%- endmacro %}

{% macro spark__latest(column) -%}{{ return('array_max(' ~ column ~ ')') }}{%- endmacro %}

{% macro length_of(column) -%}{{ return(adapter.dispatch('length_of', 'thaw')(column)) }}{%- endmacro %}

{% macro duckdb__length_of(column) -%}{{ return('len(' ~ column ~ ')') }}{%- endmacro %}

{% macro spark__length_of(column) -%}{{ return('size(' ~ column ~ ')') }}{%- endmacro %}

{#-
    Spark: where a table lies, so that the export finds it without asking the metastore; dbt-spark's macro, which takes
    the place from the project's file, would have dbt parse anew whenever the place changes, whatever the engine.
-#}
{% macro spark__location_clause() -%}
    location '{{ env_var('THAW_SPARK', '../data/simulated/spark') }}/tables/{{ model['alias'] }}'
{%- endmacro %}
