# Reads a task as JSON, and prints a discovery as JSON.
topic=$(sed 's/.*"topic":"\([^"]*\)".*/\1/')
test -f "$topic" || { echo "there is no file $topic" >&2; exit 65; }
printf '{"artifacts": [{"type": "note", "payload": {"text": "%d lines"}}], "reward": 1}\n' "$(wc -l < "$topic")"
