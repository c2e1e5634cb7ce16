FROM alpine:3.22
RUN <<EOT
FROM not-an-image
cat > /x <<OTHER
COPY --from=neither x y
OTHER
EOT
COPY <<-"A" <<B /dst/
	$TARGETARCH in quotes
	A
FROM neither
B
ONBUILD RUN echo $TARGETARCH
RUN echo \$TARGETARCH
RUN echo one \\
RUN echo two \

  three
CMD ["sh"]
