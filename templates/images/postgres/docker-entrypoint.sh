#!/bin/bash
# Starts PostgreSQL as the official image's entrypoint does: owns the data directory as root,
# leaves root behind, makes the cluster on the first start, then becomes the server.
set -euo pipefail

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

become_postgres() {
    mkdir -p "$PGDATA" /var/run/postgresql
    chmod 0700 "$PGDATA"
    find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres:postgres '{}' +
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$BASH_SOURCE" "$@"
}

# Where the cluster is made: on its volume, beside nothing. It moves into place once complete,
# so that a first start that was cut short is begun again, not taken for a database.
new=$PGDATA/.unfinished

make_cluster() {
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo 'POSTGRES_PASSWORD is empty: a password is needed to make the database' >&2
        exit 1
    fi
    rm -rf "$new"
    # POSTGRES_INITDB_ARGS is a list of arguments, hence unquoted.
    initdb --pgdata="$new" --username="$user" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-}") \
        --auth-local=trust --auth-host=scram-sha-256 --no-instructions ${POSTGRES_INITDB_ARGS:-}
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$new/pg_hba.conf"
}

# The server of the first start listens on its socket alone: nobody outside meets a database
# that is not finished.
run_init_scripts() {
    pg_ctl -D "$new" -o "-c listen_addresses=''" -w start
    local psql=(psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$user")
    if [ "$database" != postgres ]; then
        "${psql[@]}" --dbname postgres --set db="$database" <<< 'CREATE DATABASE :"db";'
    fi
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sh) bash "$script" ;;
            *.sql) "${psql[@]}" --dbname "$database" --file "$script" ;;
        esac
    done
    pg_ctl -D "$new" -m fast -w stop
}

# PG_VERSION, which says that there is a cluster, comes last.
move_into_place() {
    find "$new" -mindepth 1 -maxdepth 1 \! -name PG_VERSION \! -name .complete -exec mv -t "$PGDATA" '{}' +
    mv "$new/PG_VERSION" "$PGDATA/PG_VERSION"
    rm -rf "$new"
}

if [ "${1:-}" = postgres ] || [ "${1#-}" != "${1:-}" ]; then
    [ "$1" = postgres ] || set -- postgres "$@"
    [ "$(id -u)" != 0 ] || become_postgres "$@"
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        if [ ! -e "$new/.complete" ]; then
            make_cluster
            run_init_scripts
            touch "$new/.complete"
        fi
        move_into_place
    fi
fi
exec "$@"
