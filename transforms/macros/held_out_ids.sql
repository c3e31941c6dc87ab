{#-
    Which engagements held_out_items and held_out_users hold out: all of a share of the items (HRNN-meta, section 4.4,
    Table 7), or of the users (section 4.1), drawn uniformly; `id` is the column. The ids come in the order of a digest
    of the seed and the id, which depends on nothing else: not on the order of the rows, nor on how many there are of an
    id. Their number is rounded half up.
    Reads the relation `engagements`; adds the column held_out (test or null).
-#}
{% macro held_out_ids(id, share, seed) -%}
    select
        engagements.*,
        case when chosen.{{ id }} is not null then 'test' end as held_out
    from engagements
    left join (
        select {{ id }}
        from (
            select
                {{ id }},
                row_number() over (order by md5('{{ seed }}:' || {{ id }}), {{ id }}) as place,
                count(*) over () as total
            from (select distinct {{ id }} from engagements) as ids
        ) as placed
        where place <= floor(cast({{ share }} as double) * total + 0.5)
    ) as chosen
        on engagements.{{ id }} = chosen.{{ id }}
{%- endmacro %}
