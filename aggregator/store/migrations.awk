# SPDX-License-Identifier: Apache-2.0
# Turns SQL files named NNN_name.sql into the C array that migrations.h declares.
function start(file,    base) {
	base = file
	sub(/.*\//, "", base)
	sub(/\.sql$/, "", base)
	if (base !~ /^[0-9][0-9][0-9]_[a-z0-9_]+$/) {
		print file ": not NNN_name.sql" >"/dev/stderr"
		bad = 1
		exit 1
	}
	if (substr(base, 1, 3) + 0 != ++count) {
		print file ": numbers must be 001, 002 ..." >"/dev/stderr"
		bad = 1
		exit 1
	}
	if (count > 1)
		print "\t},"
	printf "\t{ %d, \"%s\",\n", count, substr(base, 5)
}
BEGIN {
	print "/* Generated from aggregator/store/migrations. */"
	print "#include \"aggregator/store/migrations.h\"\n"
	print "const struct migration migrations[] = {"
}
FNR == 1 { start(FILENAME) }
{
	gsub(/\\/, "\\\\")
	gsub(/"/, "\\\"")
	gsub(/\?/, "\\?")
	printf "\t  \"%s\\n\"\n", $0
}
END {
	if (bad)
		exit 1
	print "\t},\n};"
	printf "const size_t migrations_count = %d;\n", count
}
