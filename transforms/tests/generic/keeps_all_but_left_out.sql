{#- Passes when `model` has as many rows as `of` has of the users and items that `left_out` does not name. -#}
{% test keeps_all_but_left_out(model, of, left_out) %}

with counts as (

    select
        (select count(*) from {{ model }}) as actual,
        (
            select count(*)
            from {{ of }} as rows_of
            where
                not exists (select 1 from {{ left_out }} where kind = 'user' and id = rows_of.user_id)
                and not exists (select 1 from {{ left_out }} where kind = 'item' and id = rows_of.item_id)
        ) as expected

)

select * from counts where actual <> expected

{% endtest %}
