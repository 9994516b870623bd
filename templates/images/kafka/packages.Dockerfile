# Kafka from its Maven artifacts, laid out as the official image has it, where that cannot be had.
FROM caravan.local/debian:bookworm AS libs
# The host's own certificate authorities, before maven brings Java: its trust store has them then.
COPY ca/ /usr/local/share/ca-certificates/host/
RUN update-ca-certificates
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends maven
COPY pom.xml libs-*.sha256 /build/
# Strict: what differs from the repository's own checksums is an error, and not a mere warning.
RUN cd /build && mvn --batch-mode --quiet --strict-checksums -DoutputDirectory=/build/libs \
      org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies
# Of a version that was tried, every file is known, and there is no other.
RUN cd /build/libs && known=/build/libs-{{version}}.sha256 \
 && if [ -e $known ]; then \
      sha256sum --check --strict --quiet $known && [ "$(ls | wc -l)" = "$(wc -l < $known)" ]; \
    else echo "no checksums are known for Kafka {{version}}"; fi

FROM caravan.local/debian:bookworm AS packages
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --gid root --no-create-home appuser
COPY --from=libs /build/libs/ /opt/kafka/libs/
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WORKDIR /
