{#-
    The slice of an item, over a relation with item_id, train_count and available_at.
    count: head is more than tail_max_count engagements before the cutoff.
    pareto: head is the head_share most frequent of the items available before the cutoff, equal counts in order of
    item_id; their number is rounded half up and is at least one (CDN paper, section 4.1).
    Whatever the rule, an item without such an engagement is cold.
-#}
{% macro item_slice(head_rule, cutoff) -%}
    case
        when train_count = 0 then 'cold'
    {%- if head_rule == 'count' %}
        when train_count > {{ var('tail_max_count') }} then 'head'
    {%- elif head_rule == 'pareto' %}
        when
            row_number() over (order by train_count desc, item_id)
            <= greatest(1, floor({{ var('head_share') }} * count(case when available_at < {{ cutoff }} then 1 end) over () + 0.5))
            then 'head'
    {%- else %}
    {{ exceptions.raise_compiler_error("var head_rule is '" ~ head_rule ~ "': use 'count' or 'pareto'") }}
    {%- endif %}
        else 'tail'
    end
{%- endmacro %}
