FROM {{ base_image }}
{% if extra %}
RUN apk add {{ extra }}
{% endif %}
