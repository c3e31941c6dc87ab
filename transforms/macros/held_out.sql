{#-
    Which engagements leave_one_out holds out: of every user with three or more, the last is tested and the second last
    validates (CDN paper, appendix B.2). Last is by `held_out_by`:
    time: in order of (timestamp, source_row).
    random: in order of a digest of the source row, so that the choice does not depend on the order of the rows.
    Reads the relation `engagements`; adds the column held_out (test, validation or null).
-#}
{% macro held_out(held_out_by) -%}
    {%- set orders = {'time': 'timestamp desc, source_row desc', 'random': 'md5(cast(source_row as string)), source_row'} -%}
    {%- if held_out_by not in orders -%}
    {{ exceptions.raise_compiler_error("var held_out_by is '" ~ held_out_by ~ "': use 'time' or 'random'") }}
    {%- endif -%}
    select
        * except (of_user, place),
        case
            when of_user >= 3 and place = 1 then 'test'
            when of_user >= 3 and place = 2 then 'validation'
        end as held_out
    from (
        select
            *,
            count(*) over (partition by user_id) as of_user,
            row_number() over (partition by user_id order by {{ orders[held_out_by] }}) as place
        from engagements
    ) as placed
{%- endmacro %}
