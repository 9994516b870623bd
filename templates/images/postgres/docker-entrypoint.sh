#!/bin/bash
# Starts PostgreSQL as the official image's entrypoint does: owns the data directory as root,
# leaves root behind, makes the cluster on the first start, then becomes the server.
set -euo pipefail

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

# NAME, or what is in the file that NAME_FILE names; as root, who can read it.
take_from_file() {
    local name=$1 by_file=$1_FILE value
    [ -n "${!by_file:-}" ] || return 0
    [ -z "${!name:-}" ] || fail "$name and $by_file are both set: unset one of them"
    [ -r "${!by_file}" ] || fail "$by_file names ${!by_file}, which cannot be read"
    value=$(< "${!by_file}")
    export "$name=$value"
    unset "$by_file"
}

become_postgres() {
    mkdir -p "$PGDATA" /var/run/postgresql
    chmod 0700 "$PGDATA"
    find "$PGDATA" /var/run/postgresql \! -user postgres -exec chown postgres:postgres '{}' +
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$BASH_SOURCE" "$@"
}

# Where the cluster is made: on its volume, beside nothing. It moves into place once complete,
# so that a first start that was cut short is begun again, not taken for a database.
new=$PGDATA/.unfinished
# A cluster as initdb makes it under the image's own variables, and a database `unnamed` in it, made
# when the image was built.
prepared=/usr/share/postgresql/prepared

make_cluster() {
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        fail 'POSTGRES_PASSWORD is empty: a password is needed to make the database'
    fi
    rm -rf "$new"
    if prepared_will_do; then
        copy_prepared
    else
        # POSTGRES_INITDB_ARGS is a list of arguments, hence unquoted.
        initdb --no-sync --pgdata="$new" --username="$user" --pwfile=<(printf '%s\n' "${POSTGRES_PASSWORD:-}") \
            --auth-local=trust --auth-host=scram-sha-256 --no-instructions ${POSTGRES_INITDB_ARGS:-}
        [ "$database" = postgres ] || alone "CREATE DATABASE $(identifier "$database")"
    fi
    printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >> "$new/pg_hba.conf"
    sync --file-system "$new"
}

# Whether initdb would make the same of the variables that it looks at, and of the user's name.
prepared_will_do() {
    [ -r "$prepared/PG_VERSION" ] && [ -z "${POSTGRES_INITDB_ARGS:-}" ] && [[ $user != pg_* ]] &&
        [ "${LANG:-}" = en_US.utf8 ] && [ -z "${LANGUAGE:-}${TZ:-}$(compgen -v LC_ || true)" ]
}

# Then user, password and database are made what the variables say, by a server that nobody else
# can reach. The first superuser is known by its number everywhere but in its own row.
copy_prepared() {
    local statements=("UPDATE pg_authid SET rolname = $(literal "$user") WHERE oid = 10")
    local password=${POSTGRES_PASSWORD:-}
    if [ -n "$password" ]; then
        statements+=("ALTER ROLE $(identifier "$user") PASSWORD $(literal "${password%%$'\n'*}")")
    fi
    case $database in
        postgres) statements+=('DROP DATABASE unnamed') ;;
        unnamed) ;;
        *) statements+=("ALTER DATABASE unnamed RENAME TO $(identifier "$database")") ;;
    esac
    cp -a "$prepared" "$new"
    renumber
    alone "${statements[@]}"
}

# A number of its own for the cluster, as initdb would give it: by the time, for what is copied from
# one image is not one database. pg_resetwal writes the checksum and a log of that number.
renumber() {
    local number=$(( ($(date +%s) << 32) | (RANDOM << 17) | (RANDOM << 2) | (RANDOM & 3) )) bytes='' i said
    for i in 0 8 16 24 32 40 48 56; do
        bytes+=$(printf '\\x%02x' $(( (number >> i) & 255 )))
    done
    printf "$bytes" | dd of="$new/global/pg_control" conv=notrunc status=none
    said=$(pg_resetwal --force "$new" 2>&1) || fail "$said"
}

literal() { printf "'%s'" "${1//\'/\'\'}"; }
identifier() { printf '"%s"' "${1//\"/\"\"}"; }

# Statements, one by one, by a server without clients that leaves the disk to who comes after it; one
# that fails is not shown, for it may hold the password.
alone() {
    printf '%s;\n\n' "$@" |
        postgres --single -F -j -D "$new" -c exit_on_error=true -c log_min_error_statement=panic \
            -c log_min_messages=error postgres > /dev/null
}

# The server of the first start listens on its socket alone: nobody outside meets a database
# that is not finished.
run_init_scripts() {
    local scripts=(/docker-entrypoint-initdb.d/*) script
    [ -e "${scripts[0]}" ] || return 0
    pg_ctl -D "$new" -o "-c listen_addresses=''" -w start
    local psql=(psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$user")
    for script in "${scripts[@]}"; do
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
    for name in POSTGRES_PASSWORD POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS; do
        take_from_file $name
    done
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    [ "$(id -u)" != 0 ] || become_postgres "$@"
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        if [ ! -e "$new/.complete" ]; then
            make_cluster
            run_init_scripts
            touch "$new/.complete"
        fi
        move_into_place
    fi
    unset POSTGRES_PASSWORD
fi
exec "$@"
