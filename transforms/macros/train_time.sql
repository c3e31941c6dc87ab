{#-
    Where train time ends, by kind of split; expressions over the relation `engagements` of the calling model.
    median_time, quantile, fraction: the cutoff is the discrete quantile of all timestamps, so that the engagements at
    that instant are tested together; validation is the last part of what lies before it.
    leave_one_out, held_out_items, held_out_users: the timeline has put the held-out engagements behind train;
    leave_one_out's that validate come first, the other two validate on the last part of train time.
-#}
{% macro cutoff(split_kind) -%}
    {%- if split_kind in ['median_time', 'quantile', 'fraction'] -%}
    {{ discrete_quantile('timestamp', var('quantile')) }}
    {%- elif split_kind in ['leave_one_out', 'held_out_items', 'held_out_users'] -%}
    min(timestamp) filter (where held_out = 'test')
    {%- else -%}
    {{ exceptions.raise_compiler_error(
        "var split_kind is '" ~ split_kind
        ~ "': use 'median_time', 'quantile', 'fraction', 'leave_one_out', 'held_out_items' or 'held_out_users'"
    ) }}
    {%- endif -%}
{%- endmacro %}

{#- Over the engagements before the cutoff. -#}
{% macro validation_start(split_kind) -%}
    {%- if split_kind == 'leave_one_out' -%}
    min(timestamp) filter (where held_out = 'validation')
    {%- else -%}
    {{ discrete_quantile('timestamp', '1 - ' ~ var('validation_fraction')) }}
    {%- endif -%}
{%- endmacro %}
