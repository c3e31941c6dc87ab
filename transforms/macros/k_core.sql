{#-
    The engagements that the k-core filter counts.
    before_cutoff: those before the cutoff, which is the quantile of every engagement's time, so that it does not
    depend on what is left out. A user or item with none is not judged: nothing is known of it yet.
    all_looking_ahead: all of them, those of test time too, as published experiments count.
-#}
{% macro counted_by_core(counts, split_kind) -%}
    {%- if counts == 'before_cutoff' -%}
    {%- if split_kind not in ['median_time', 'quantile', 'fraction'] -%}
    {{ exceptions.raise_compiler_error(
        "k_core counts what lies before the cutoff, and split_kind '" ~ split_kind ~ "' has no cutoff in time (a study"
        ~ " may ask for such a split): set engagement.k_core_counts to all_looking_ahead"
    ) }}
    {%- endif -%}
    select user_id, item_id
    from engagements
    where timestamp < (select {{ cutoff(split_kind) }} from engagements)
    {%- elif counts == 'all_looking_ahead' -%}
    select user_id, item_id from engagements
    {%- else -%}
    {{ exceptions.raise_compiler_error("var k_core_counts is '" ~ counts ~ "': use 'before_cutoff' or 'all_looking_ahead'") }}
    {%- endif -%}
{%- endmacro %}

{#-
    CTEs that peel a graph of users and items down to its k-core; reads `counted`, `users` and `items`, whose `node` is
    a number of its own each (numbers, not names: a pass joins them; 1.5 s against 4.4 s for 10^6 pairs in 39 passes).
    `peeled` holds every node with its engagements with what is still kept, and the pass that saw it last. A node with
    fewer than k is out; the pass after takes its engagements from its neighbours that are in. USING KEY overwrites a
    node's row, so the recursion holds each node once and ends where nothing changes: the fixpoint, which is the same
    whatever the order. `passes`, if given, ends it earlier: 1 leaves out by the first counts, as SASRec's preprocessing.
-#}
{% macro core_peeling(k, passes) -%}
pairs as materialized (

    select users.node as user_node, items.node as item_node, count(*) as engagements
    from counted
    inner join users on counted.user_id = users.user_id
    inner join items on counted.item_id = items.item_id
    group by users.node, items.node

),

edges as materialized (

    select user_node as node, item_node as neighbour, engagements from pairs
    union all
    select item_node, user_node, engagements from pairs

),

peeled(node, engagements, pass) using key (node) as (

    select node, cast(sum(engagements) as bigint), 1
    from edges
    group by node

    union

    select
        edges.neighbour,
        any_value(now.engagements) - cast(sum(edges.engagements) as bigint),
        any_value(peeled.pass) + 1
    from peeled
    inner join edges on peeled.node = edges.node
    inner join recurring.peeled as now on edges.neighbour = now.node
    where
        peeled.engagements < {{ k }}
        and now.engagements >= {{ k }}
        {%- if passes is not none %}
        and peeled.pass < {{ passes }}
        {%- endif %}
    group by edges.neighbour

)
{%- endmacro %}

{#- The condition that a row is left in, by its user and its item. -#}
{% macro is_left_in() -%}
    user_id not in (select id from {{ ref('left_out') }} where kind = 'user')
    and item_id not in (select id from {{ ref('left_out') }} where kind = 'item')
{%- endmacro %}
