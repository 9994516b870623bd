#!/bin/sh
# Starts Redis as the official image's entrypoint does: bare options mean redis-server, and root
# is left behind, for a shell that ends in redis-server as well.
set -e

case ${1:-} in
    -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "$(id -u)" = 0 ]; then
    find . \! -user redis -exec chown redis '{}' +
    exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
fi

umask 0077
exec "$@"
