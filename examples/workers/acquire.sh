#!/usr/bin/env bash
# bash with curl: asks, waits in the queue, calls, and tells what was used. Give it a prompt.
set -euo pipefail
service=http://${WATERMASTER_HTTP:-localhost:8080} prompt=${1:-Name a river.}
id=$(cat /proc/sys/kernel/random/uuid)

ask() { curl -sS --fail-with-body --max-time 30 --json "$2" "$service/v1/$1"; }
field() { sed -nE 's/.*"'"$1"'": ?"?([^",}]*).*/\1/p'; }

# One HTTP attempt is one lease. While the answer is `wait` the place is kept under the same id.
while :; do
	answer=$(ask acquire '{"request_id": "'"$id"'", "organization": "acme", "project": "shell", "model": "gpt-5",
		"input_tokens": '$((${#prompt} / 2 + 10))', "max_output_tokens": 60}')
	case $answer in
	*'"granted":'*) break ;;
	*'"wait":'*) sleep "$(field retry_after <<<"$answer" | tr -d s)" ;;
	*) echo "refused: $answer" >&2 && exit 1 ;;
	esac
done
lease=$(field lease_id <<<"$answer")

# Whatever happens from here on, the lease is given back; what nobody told counts as it was asked for.
outcome=OUTCOME_UNKNOWN usage=
trap 'ask release "{\"lease_id\": \"$lease\", \"outcome\": \"$outcome\"$usage}" >/dev/null' EXIT

reply=$(curl -sS --max-time 60 -w '\n%{http_code}' "$OPENAI_BASE_URL/chat/completions" -H "authorization: Bearer $OPENAI_API_KEY" \
	--json '{"model": "gpt-5", "max_tokens": 60, "messages": [{"role": "user", "content": "'"$prompt"'"}]}')
status=${reply##*$'\n'}
if ((status >= 400)); then
	outcome=OUTCOME_UNSPECIFIED usage=", \"observation\": {\"http_status\": $status}"
	echo "the provider answers $reply" >&2 && exit 1
fi
outcome=OUTCOME_SUCCEEDED
usage=", \"usage\": {\"input_tokens\": $(field prompt_tokens <<<"$reply"), \"output_tokens\": $(field completion_tokens <<<"$reply")}"
field content <<<"$reply"
