{#-
    The numbers of the test windows: as many as configured, or as many frames as reach the end, a last partial one
    among them. Reads the relation `span` of the calling model.
-#}
{% macro window_numbers(cut_by) -%}
    {%- if cut_by == 'frame' -%}
    select {{ each_below(int_div(epoch_us('end_at') ~ ' - ' ~ epoch_us('cutoff') ~ ' - 1', frame_us()) ~ ' + 1') }} as window
    from span
    {%- else -%}
    select {{ each_below(var('windows')) }} as window
    {%- endif -%}
{%- endmacro %}

{#-
    Where each test window starts; reads the relations `engagements`, `span` and `windows` of the calling model.
    duration: edges at equal distances from the cutoff to the end, rounded down to a microsecond.
    count: window i starts at the test engagement of position floor(n i / windows), so that equal timestamps, which
    lie at or after an edge together, are never cut apart (a window between two equal edges is empty).
    frame: one frame after another from the cutoff on, whether or not anything happens in it.
-#}
{% macro window_starts(cut_by) -%}
    {%- if cut_by == 'duration' -%}
    select
        windows.window,
        {{ from_epoch_us(
            epoch_us('span.cutoff') ~ ' + '
            ~ int_div('(' ~ epoch_us('span.end_at') ~ ' - ' ~ epoch_us('span.cutoff') ~ ') * windows.window', var('windows'))
        ) }} as starts_at
    from windows
    cross join span
    {%- elif cut_by == 'count' -%}
    select windows.window, ranked.timestamp as starts_at
    from windows
    inner join (
        select
            engagements.timestamp,
            row_number() over (order by engagements.timestamp) - 1 as position,
            count(*) over () as total
        from engagements
        cross join span
        where engagements.timestamp >= span.cutoff
    ) as ranked
        on ranked.position = {{ int_div('ranked.total * windows.window', var('windows')) }}
    {%- elif cut_by == 'frame' -%}
    select windows.window, {{ from_epoch_us(epoch_us('span.cutoff') ~ ' + windows.window * ' ~ frame_us()) }} as starts_at
    from windows
    cross join span
    {%- else -%}
    {{ exceptions.raise_compiler_error("var cut_by is '" ~ cut_by ~ "': use 'duration', 'count' or 'frame'") }}
    {%- endif -%}
{%- endmacro %}

{#- Length of a frame in microseconds. -#}
{% macro frame_us() -%}
    {%- set hours = {'hour': 1, 'day': 24, 'week': 168} -%}
    {%- if var('frame') not in hours -%}
    {{ exceptions.raise_compiler_error("var frame is '" ~ var('frame') ~ "': use 'hour', 'day' or 'week'") }}
    {%- endif -%}
    cast({{ hours[var('frame')] }} * 3600000000 as bigint)
{%- endmacro %}
