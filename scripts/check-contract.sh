#!/usr/bin/env bash
# The contract: style, compatibility with the last release, and the foreign protos in third_party/
# against the official ones. Needs: BUF, OFFICIAL_PROTOS.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

"$BUF" lint

release=$(git describe --tags --match 'v[0-9]*' --abbrev=0 2> /dev/null || true)
if [[ -n $release ]]; then
    "$BUF" breaking --against ".git#tag=$release"
    echo "note: compatible with $release"
else
    echo "note: no release yet, so nothing to stay compatible with"
fi

# Two modules that differ in the foreign protos only must compile to the same bytes: our files,
# whose options those protos define, and the foreign files themselves.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for kind in restated official; do
    mkdir "$scratch/$kind"
    cp buf.yaml "$scratch/$kind/"
    mkdir "$scratch/$kind/proto"
    (cd proto && find . -name '*.proto' -exec cp --parents -t "$scratch/$kind/proto" {} +)
done
cp -r third_party "$scratch/restated/third_party"
foreign=$(cd third_party && find . -name '*.proto' | sort)
for file in $foreign; do
    mkdir -p "$scratch/official/third_party/$(dirname "$file")"
    cp "$OFFICIAL_PROTOS/$file" "$scratch/official/third_party/$file"
done
for kind in restated official; do
    for module in proto third_party; do
        (cd "$scratch/$kind" && "$BUF" build "$module" --exclude-source-info --exclude-imports \
            -o "$scratch/$kind-$module.binpb")
    done
done
for module in proto third_party; do
    if ! cmp "$scratch/restated-$module.binpb" "$scratch/official-$module.binpb"; then
        echo "third_party/ differs from the official protos in a name, number or option (seen in $module/)" >&2
        exit 1
    fi
done
echo "note: $(wc -w <<< "$foreign") restated protos match the official ones"
