#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build.sh MODULES OUT: bundles the page with esbuild and writes OUT/assets.c, which
# carries the gzipped files into the binary as aggregator/web/page.h declares them.
# Names hold a hash of the content, so that browsers may keep them for ever. The same
# sources give the same bytes. Run from the root of the repository.
set -eu

modules=$1
out=$2
src=aggregator/web/page/src
export NODE_PATH="$modules"
rm -rf "$out/assets"
mkdir -p "$out/assets"

# bundle SOURCE NAME ARGUMENTS…
bundle() {
	from=$1
	to=$2
	shift 2
	"${ESBUILD:-esbuild}" "$src/$from" --bundle --minify --target=es2021 \
		--legal-comments=none --log-level=warning --jsx=automatic \
		--jsx-import-source=preact --outfile="$out/$to" "$@"
}

# hashed NAME EXTENSION: moves OUT/NAME.EXTENSION to its name with a hash, and prints that.
hashed() {
	hash=$(sha256sum <"$out/$1.$2" | cut -c 1-12)
	mv "$out/$1.$2" "$out/assets/$1-$hash.$2"
	echo "assets/$1-$hash.$2"
}

bundle layout.ts layout.js --format=iife
layout=$(hashed layout js)
bundle main.tsx main.js --format=esm --define:LAYOUT_WORKER="\"$layout\""
css=$(hashed main css)
js=$(hashed main js)
sed -e "s#{{CSS}}#$css#" -e "s#{{JS}}#$js#" "$src/index.html" >"$out/index.html"

{
	echo '/* Made by aggregator/web/page/build.sh. */'
	echo '#include "aggregator/web/page.h"'
	n=0
	table=
	for f in "$out"/assets/*; do
		raw=$(wc -c <"$f")
		gzip -9n "$f"
		case $f in
		*.js) type='text/javascript; charset=utf-8' ;;
		*.css) type='text/css; charset=utf-8' ;;
		*) echo "$f: of no known type" >&2 && exit 1 ;;
		esac
		name=${f##*/}
		printf '__asm__(".section .rodata\\npage_asset_%s:\\n.incbin \\"%s\\"\\n.previous");\n' \
			"$n" "$f.gz"
		printf 'extern const unsigned char page_asset_%s[];\n' "$n"
		table="$table	{ \"/assets/$name\", \"$type\", page_asset_$n, $(wc -c <"$f.gz"), $raw },
"
		n=$((n + 1))
	done
	printf 'const struct page_asset page_assets[] = {\n%s};\n' "$table"
	echo "const size_t page_assets_n = $n;"
	echo 'const char page_index[] ='
	sed -e 's/[\\"]/\\&/g' -e 's/.*/	"&\\n"/' "$out/index.html"
	echo '	;'
} >"$out/assets.c.tmp"
mv "$out/assets.c.tmp" "$out/assets.c"
