# Stands in for `node:22-slim` where no registry can be reached: Debian's Node and npm. npm is taken
# out of its packages alone: to install all that these name would take a minute, for compilers that
# plain JavaScript needs nothing of.
FROM caravan.local/debian:bookworm
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends nodejs \
 && apt-get install --yes --no-install-recommends --download-only npm \
 && cd /var/cache/apt/archives \
 && for package in npm_*.deb node-*_all.deb; do dpkg-deb --extract $package / || exit 1; done \
 && cd / && apt-get clean && rm -rf /var/lib/apt/lists/*
