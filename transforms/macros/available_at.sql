{#-
    When an item joins the catalog, over the relations `items` and `engaged` of the calling model.
    It is at its creation or its first engagement, nulls ignored. A creation time after the first engagement does not
    count: the engagement proves that the item existed (or leave_one_out asks for it as if it did).
    held_out_items: an item that is held out, so has test engagements only, joins with them whenever it was created.
    Were it there earlier, training would see it as one that nobody wants.
-#}
{% macro available_at(split_kind) -%}
    {%- if split_kind == 'held_out_items' -%}
    case
        when engaged.train_count = 0 then engaged.first_engaged_at
        else least(items.created_at, engaged.first_engaged_at)
    end
    {%- else -%}
    least(items.created_at, engaged.first_engaged_at)
    {%- endif -%}
{%- endmacro %}
