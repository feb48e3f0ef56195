# SPDX-License-Identifier: Apache-2.0
# From `gcc -E -dM` of <asm/unistd.h> to a table by number. What is newer than
# the headers here, and the same on every architecture, is added.
BEGIN {
	newer = "451 cachestat 452 fchmodat2 453 map_shadow_stack" \
		" 454 futex_wake 455 futex_wait 456 futex_requeue" \
		" 457 statmount 458 listmount 459 lsm_get_self_attr" \
		" 460 lsm_set_self_attr 461 lsm_list_modules 462 mseal" \
		" 463 setxattrat 464 getxattrat 465 listxattrat" \
		" 466 removexattrat 467 open_tree_attr 468 file_getattr" \
		" 469 file_setattr"
	n = split(newer, part, " ")
	for (i = 1; i < n; i += 2)
		name[part[i]] = part[i + 1]
}
$1 == "#define" && $2 ~ /^__NR_/ && $3 ~ /^[0-9]+$/ && $2 != "__NR_syscalls" {
	name[$3] = substr($2, 6)
}
END {
	print "/* Made by syscalls.awk from <asm/unistd.h>. */"
	print "static const char *const syscall_names[] = {"
	for (i = 0; i <= 1000; i++)
		if (i in name)
			printf "\t[%d] = \"%s\",\n", i, name[i]
	print "};"
}
