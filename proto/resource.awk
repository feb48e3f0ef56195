# SPDX-License-Identifier: Apache-2.0
#
# Makes build/proto/resource.gen.h from message Resources of redtap.proto, where a
# column of a resource is declared once. A comment "target_info: LABEL" behind a
# column shows it as that label.

BEGIN {
	print "/* Generated from message Resources of redtap.proto. */"
	print "#ifndef PROTO_RESOURCE_GEN_H\n#define PROTO_RESOURCE_GEN_H\n"
}
/^message Resources/ { inside = 1; next }
inside && /^}/ { inside = 0 }
inside && /repeated uint32/ {
	column = $3
	# protobuf-c appends "_" to what is a keyword in C++.
	name = column == "namespace" ? "namespace_" : column
	all = all " \\\n\tX(" name ", \"" column "\")"
	if (column != "instance")
		target = target " \\\n\tX(" name ", \"" column "\")"
	if (match($0, /target_info: [a-z_0-9]+/))
		labels = labels " \\\n\tX(" name ", \"" \
			substr($0, RSTART + 13, RLENGTH - 13) "\")"
}
END {
	print "/* X(member, \"column\"), in the order of the wire. */"
	print "#define RESOURCE_COLUMNS(X)" all "\n"
	print "/* The same without instance, which is a label of each series. */"
	print "#define RESOURCE_ATTRIBUTES(X)" target "\n"
	print "/* X(member, \"label\"): those that target_info shows. */"
	print "#define RESOURCE_LABELS(X)" labels "\n"
	print "#endif /* PROTO_RESOURCE_GEN_H */"
}
