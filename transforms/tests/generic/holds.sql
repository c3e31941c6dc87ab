{#- Passes when `expression` is true (not false, not null) on every row. -#}
{% test holds(model, expression) %}

select *
from {{ model }}
where ({{ expression }}) is not true

{% endtest %}
