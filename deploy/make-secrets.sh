#!/bin/sh
# Makes the passwords and keys that compose.yaml hands to its parts, once; what is there already stays. The last two are
# others' and are made empty: whoever uses them writes them in (compose.yaml, at its top).
# The files may be read by every account, as the parts run as accounts of their own, but their folder by its owner alone.
set -eu
folder=${1:-secrets}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# put NAME TEXT
put() {
	if [ -e "$folder/$1" ]; then
		echo "$folder/$1: is there already, and stays"
		return
	fi
	printf '%s' "$2" >"$folder/$1.partial"
	chmod 444 "$folder/$1.partial"
	mv "$folder/$1.partial" "$folder/$1"
	echo "$folder/$1: made"
}

put database_password "$(random)"
put database_url "postgresql+psycopg://fedflow:$(cat "$folder/database_password")@database/fedflow"
put store_key "$(random)"
key=$(cat "$folder/store_key")
put store.env "AWS_ACCESS_KEY_ID=fedflow
AWS_SECRET_ACCESS_KEY=$key
"
put store "{\"identities\": [{\"name\": \"fedflow\", \"actions\": [\"Admin\", \"Read\", \"List\", \"Write\"],
  \"credentials\": [{\"accessKey\": \"fedflow\", \"secretKey\": \"$key\"}]}]}
"
put oidc_client_secret ""
put smtp_url ""
chmod 644 "$folder/oidc_client_secret" "$folder/smtp_url"
