{#- Passes when no two rows agree in all of `columns`. -#}
{% test unique_together(model, columns) %}
{%- set named = [] -%}
{%- for column in columns -%}{%- do named.append(adapter.quote(column)) -%}{%- endfor %}

select {{ named | join(', ') }}, count(*) as n
from {{ model }}
group by {{ named | join(', ') }}
having count(*) > 1

{% endtest %}
