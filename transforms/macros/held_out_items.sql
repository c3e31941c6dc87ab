{#-
    Which engagements held_out_items holds out: all of a share of the items, drawn uniformly (HRNN-meta, section 4.4,
    Table 7). The items come in the order of a digest of the seed and their id, which depends on nothing else: not on
    the order of the rows, nor on how often an item was engaged with. Their number is rounded half up.
    Reads the relation `engagements`; adds the column held_out (test or null).
-#}
{% macro held_out_items(share, seed) -%}
    select
        engagements.*,
        case when chosen.item_id is not null then 'test' end as held_out
    from engagements
    left join (
        select item_id
        from (select distinct item_id from engagements) as items
        qualify
            row_number() over (order by md5('{{ seed }}:' || item_id), item_id)
            <= floor(cast({{ share }} as double) * count(*) over () + 0.5)
    ) as chosen
        on engagements.item_id = chosen.item_id
{%- endmacro %}
