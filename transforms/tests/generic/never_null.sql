{#- Passes when `column` is filled in every row. For columns whose names have to be quoted: a test below such a column is
    named by the engine's own quotes, so that it is another test on every engine. -#}
{% test never_null(model, column) %}

select * from {{ model }} where {{ adapter.quote(column) }} is null

{% endtest %}
