#!/bin/sh
# Generates shared/gen from proto/. Made beside and then swapped, so that a failed run leaves the old text.
# With --check: only says whether shared/gen is what proto/ gives.
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
protoc --plugin=protoc-gen-ts_proto=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out="$out" \
  --ts_proto_opt=outputServices=grpc-js,env=node,esModuleInterop=true,importSuffix=.ts \
  --ts_proto_opt=forceLong=number,oneof=unions-value,enumsAsLiterals=true,removeEnumPrefix=true,unrecognizedEnum=false \
  --ts_proto_opt=exportCommonSymbols=false,useExactTypes=false,outputJsonMethods=false,outputTypeRegistry=false \
  -I proto $(cd proto && find . -name '*.proto' | sed 's|^\./||' | sort)
if [ "${1:-}" = --check ]; then
  diff -r "$out" shared/gen >/dev/null || { echo "shared/gen is not what proto/ gives: run npm run gen and commit it" >&2; exit 1; }
  exit 0
fi
rm -rf shared/gen && cp -r "$out" shared/gen && chmod -R u+rwX,go+rX shared/gen
