# SPDX-License-Identifier: Apache-2.0
# Texts that `program build` writes beside a source, as C strings: one for each
# file, named after it.
FNR == 1 {
	if (NR > 1)
		print "\t;"
	name = FILENAME
	sub(/.*\//, "", name)
	sub(/\..*/, "", name)
	printf "static const char headers_%s[] =\n", name
}
{
	gsub(/\\/, "&&")
	gsub(/"/, "\\\"")
	printf "\t\"%s\\n\"\n", $0
}
END { print "\t;" }
