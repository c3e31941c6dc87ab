{#- The engagement rule as a condition: a minimum value (a missing value does not meet it), some event types, or both. -#}
{% macro is_engagement(event_type, value) -%}
    true
    {%- if var('minimum_value') is not none %}
        and coalesce({{ value }} >= {{ var('minimum_value') }}, false)
    {%- endif %}
    {%- if var('event_types') %}
        and {{ event_type }} in (
            {%- for name in var('event_types') -%}
                {{ dbt.string_literal(dbt.escape_single_quotes(name)) }}{{ ', ' if not loop.last }}
            {%- endfor -%}
        )
    {%- endif %}
{%- endmacro %}
