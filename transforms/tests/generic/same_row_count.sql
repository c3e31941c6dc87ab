{#- Passes when `model` has as many rows as `of`, under `where` if given. -#}
{% test same_row_count(model, of, filter='true') %}

with counts as (

    select
        (select count(*) from {{ model }}) as actual,
        (select count(*) from {{ of }} where {{ filter }}) as expected

)

select * from counts where actual <> expected

{% endtest %}
