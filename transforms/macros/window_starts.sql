{#-
    Where each test window starts; reads the relations `engagements`, `span` and `windows` of the calling model.
    duration: edges at equal distances from the cutoff to the end, rounded down to a microsecond.
    count: window i starts at the test engagement of position floor(n i / windows), so that equal timestamps, which
    lie at or after an edge together, are never cut apart (a window between two equal edges is empty).
-#}
{% macro window_starts(cut_by) -%}
    {%- if cut_by == 'duration' -%}
    select
        windows."window",
        make_timestamp(
            epoch_us(span.cutoff)
            + ((epoch_us(span.end_at) - epoch_us(span.cutoff)) * windows."window") // {{ var('windows') }}
        ) as starts_at
    from windows
    cross join span
    {%- elif cut_by == 'count' -%}
    select windows."window", ranked."timestamp" as starts_at
    from windows
    inner join (
        select
            engagements."timestamp",
            row_number() over (order by engagements."timestamp") - 1 as position,
            count(*) over () as total
        from engagements
        cross join span
        where engagements."timestamp" >= span.cutoff
    ) as ranked
        on ranked.position = (ranked.total * windows."window") // {{ var('windows') }}
    {%- else -%}
    {{ exceptions.raise_compiler_error("var cut_by is '" ~ cut_by ~ "': use 'duration' or 'count'") }}
    {%- endif -%}
{%- endmacro %}
