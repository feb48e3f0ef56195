/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "probe-agent/programs/decode.h"

/*
 * The vectors are those that ebpf_exporter publishes in its tests: the same
 * bytes must give the same text. A chain is written as names; regexps and maps
 * are given beside it.
 */
struct chain {
	enum spec_decoder_kind kind[4];
	size_t n;
	struct spec_pair *map;
	size_t n_map;
	char **regexps;
	size_t n_regexps;
	bool allow_unknown;
};

static struct decode_options options;

static int decode_bytes(const struct chain *c, const void *in, size_t len,
			char out[1100], uint64_t *replaced)
{
	struct spec_decoder list[4] = { 0 };
	struct spec_label label = { .name = (char *)(uintptr_t) "x",
				    .decoders = list,
				    .n_decoders = c->n };
	struct buf text = { 0 };
	struct decode *d;
	const char *why;
	int err;

	for (size_t i = 0; i < c->n; i++)
		list[i] = (struct spec_decoder){
			.kind = c->kind[i],
			.map = c->map,
			.n_map = c->n_map,
			.regexps = c->regexps,
			.n_regexps = c->n_regexps,
			.allow_unknown = c->allow_unknown,
		};
	assert_int_equal(decode_new(&d, &options), 0);
	err = decode_label(d, &label, in, len, &text, &why);
	memcpy(out, text.data ? text.data : "", text.len);
	out[text.len] = '\0';
	if (replaced)
		*replaced = decode_replaced(d);
	decode_free(d);
	buf_fini(&text);
	return err;
}

static void expect(enum spec_decoder_kind kind, const void *in, size_t len,
		   const char *text)
{
	struct chain c = { .kind = { kind }, .n = 1 };
	char out[1100];

	assert_int_equal(decode_bytes(&c, in, len, out, NULL), 0);
	assert_string_equal(out, text);
}

/* Of decoders that take text: another one gives it to them as it is. */
static void expect_text(enum spec_decoder_kind kind, const char *in,
			const char *text)
{
	struct chain c = { .kind = { SPEC_STRING, kind }, .n = 2 };
	char out[1100];

	assert_int_equal(decode_bytes(&c, in, strlen(in), out, NULL), 0);
	assert_string_equal(out, text);
}

static void uint_reads_one_to_eight_bytes(void **state)
{
	struct chain c = { .kind = { SPEC_UINT }, .n = 1 };
	char out[1100];

	(void)state;
	expect(SPEC_UINT, "\x01", 1, "1");
	expect(SPEC_UINT, "\x02\0", 2, "2");
	expect(SPEC_UINT, "\x04\0\0\0", 4, "4");
	expect(SPEC_UINT, "\x08\0\0\0\0\0\0\0", 8, "8");
	expect(SPEC_UINT, "\xff\xff\xff\xff\xff\xff\xff\xff", 8,
	       "18446744073709551615");
	assert_int_equal(decode_bytes(&c, "\1\2\3", 3, out, NULL), -EINVAL);
	assert_int_equal(decode_bytes(&c, "", 0, out, NULL), -EINVAL);
}

static void string_ends_at_nul(void **state)
{
	(void)state;
	expect(SPEC_STRING, "regular string", 14, "regular string");
	expect(SPEC_STRING, "null terminated string\0bananas after null", 41,
	       "null terminated string");
	expect(SPEC_STRING, "", 0, "");
}

static void hex_writes_each_byte(void **state)
{
	(void)state;
	expect(SPEC_HEX, "\x01", 1, "01");
	expect(SPEC_HEX, "\x01\x02", 2, "0102");
	expect(SPEC_HEX, "\xde\xad\xbe\xef", 4, "deadbeef");
}

static void dname_joins_labels_with_dots(void **state)
{
	(void)state;
	expect(SPEC_DNAME, "", 0, ".");
	expect(SPEC_DNAME,
	       "\x03"
	       "com",
	       4, "com");
	expect(SPEC_DNAME,
	       "\x07"
	       "example\x03"
	       "com",
	       12, "example.com");
	expect(SPEC_DNAME,
	       "\x05"
	       "com",
	       4,
	       "\x05"
	       "com");
}

static void errno_has_names(void **state)
{
	(void)state;
	expect_text(SPEC_ERRNO, "0", "unknown:0");
	expect_text(SPEC_ERRNO, "1", "EPERM");
	expect_text(SPEC_ERRNO, "32", "EPIPE");
	expect_text(SPEC_ERRNO, "95", "ENOTSUP");
	expect_text(SPEC_ERRNO, "104", "ECONNRESET");
	expect_text(SPEC_ERRNO, "1000", "unknown:1000");
}

static void ifname_asks_the_kernel(void **state)
{
	(void)state;
	expect(SPEC_IFNAME, "\x01\0\0\0", 4, "lo");
	expect(SPEC_IFNAME, "\0\0\0\0", 4, "unknown:0");
}

static void addresses_are_written_as_go_does(void **state)
{
	(void)state;
	expect(SPEC_INET_IP, "\1\2\3\4", 4, "1.2.3.4");
	expect(SPEC_INET_IP,
	       "\x24\0\xcb\0\0\x04\x10\x24\0\0\0\0\xa2\x9e\xfd\x8f", 16,
	       "2400:cb00:4:1024::a29e:fd8f");
	expect(SPEC_INET_IP, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16, "::1");
	expect(SPEC_INET_IP, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16, "::");
	expect(SPEC_INET_IP, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16,
	       "fe80::");
	/* A single group of zeros stays; of two runs the first goes. */
	expect(SPEC_INET_IP, "\x20\x01\0\0\0\1\0\1\0\1\0\1\0\1\0\1", 16,
	       "2001:0:1:1:1:1:1:1");
	expect(SPEC_INET_IP, "\x20\x01\0\0\0\0\0\1\0\0\0\0\0\1\0\1", 16,
	       "2001::1:0:0:1:1");
	expect(SPEC_INET_IP, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16,
	       "10.0.0.1");
	expect(SPEC_INET_IP, "\1\2\3", 3, "?010203");
	expect(SPEC_INET_IP, "", 0, "<nil>");
}

static void static_map_has_a_word_for_what_it_lacks(void **state)
{
	struct spec_pair map[] = {
		{ (char *)(uintptr_t) "1", (char *)(uintptr_t) "read" },
		{ (char *)(uintptr_t) "2", (char *)(uintptr_t) "write" },
	};
	struct chain c = { .kind = { SPEC_STRING, SPEC_STATIC_MAP },
			   .n = 2,
			   .map = map,
			   .n_map = 2 };
	char out[1100];

	(void)state;
	assert_int_equal(decode_bytes(&c, "1", 1, out, NULL), 0);
	assert_string_equal(out, "read");
	assert_int_equal(decode_bytes(&c, "2", 1, out, NULL), 0);
	assert_string_equal(out, "write");
	assert_int_equal(decode_bytes(&c, "3", 1, out, NULL), 0);
	assert_string_equal(out, "unknown:3");
	c.allow_unknown = true;
	assert_int_equal(decode_bytes(&c, "3", 1, out, NULL), 0);
	assert_string_equal(out, "3");
	expect_text(SPEC_STATIC_MAP, "1", "empty mapping");
}

static int match(const char *in, char **regexps, size_t n, char out[1100])
{
	struct chain c = { .kind = { SPEC_STRING, SPEC_REGEXP },
			   .n = 2,
			   .regexps = regexps,
			   .n_regexps = n };

	return decode_bytes(&c, in, strlen(in), out, NULL);
}

static void regexp_keeps_what_matches(void **state)
{
	char *plain[] = { (char *)(uintptr_t) "^systemd-journal$",
			  (char *)(uintptr_t) "^syslog-ng$" };
	char *group[] = { (char *)(uintptr_t) "^(systemd).*$",
			  (char *)(uintptr_t) "^syslog-ng$" };
	char *two[] = { (char *)(uintptr_t) "^(sys)(temd)" };
	char *part[] = { (char *)(uintptr_t) "[0-9]+" };
	char *newline[] = { (char *)(uintptr_t) "^a$" };
	char out[1100];

	(void)state;
	assert_int_equal(match("systemd-journal", plain, 2, out), 0);
	assert_string_equal(out, "systemd-journal");
	assert_int_equal(match("syslog-ng", plain, 2, out), 0);
	assert_string_equal(out, "syslog-ng");
	assert_int_equal(match("systemd-bananad", plain, 2, out), DECODE_SKIP);
	assert_int_equal(match("systemd-bananad", group, 2, out), 0);
	assert_string_equal(out, "systemd");
	assert_int_equal(match("systemd", two, 1, out), DECODE_SKIP);
	assert_int_equal(match("ab12cd34", part, 1, out), 0);
	assert_string_equal(out, "12");
	/* Go's $ is the end of the text, not before a last newline. */
	assert_int_equal(match("a\n", newline, 1, out), DECODE_SKIP);
}

static void regexp_refuses_what_re2_lacks(void **state)
{
	static const char *const wrong[] = {
		"(?=a)b", "(?!a)",   "(?<=a)b", "(?<!a)b", "(a)\\1",
		"a++",	  "a{2}{3}", "(?>a)",	"\\Ka",	   "(*FAIL)",
		"(",	  "\\h",     "a**",	"[a",	   "\\8",
	};
	static const char *const right[] = {
		"(?i)a", "(?P<x>a)", "a{2,3}?",	     "a*?",
		"[*+]+", "\\x41\\.", "^$",	     "(?:a|b)+",
		"[]a]",	 "a{",	     "[[:alpha:]]*",
	};
	struct decode *d;
	const char *why;

	(void)state;
	assert_int_equal(decode_new(&d, NULL), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		char *list[] = { (char *)(uintptr_t)wrong[i] };
		struct spec_decoder one = { .kind = SPEC_REGEXP,
					    .regexps = list,
					    .n_regexps = 1 };
		struct spec_label l = { .decoders = &one, .n_decoders = 1 };

		if (decode_check(d, &l, &why) != -EINVAL)
			fail_msg("taken: %s", wrong[i]);
	}
	for (size_t i = 0; i < sizeof(right) / sizeof(*right); i++) {
		char *list[] = { (char *)(uintptr_t)right[i] };
		struct spec_decoder one = { .kind = SPEC_REGEXP,
					    .regexps = list,
					    .n_regexps = 1 };
		struct spec_label l = { .decoders = &one, .n_decoders = 1 };

		if (decode_check(d, &l, &why) != 0)
			fail_msg("refused: %s: %s", right[i], why);
	}
	decode_free(d);
}

static void a_pattern_that_never_ends_is_cut_off(void **state)
{
	char *evil[] = { (char *)(uintptr_t) "^(?:a|aa|aaa)*[bc]$" };
	struct chain c = { .kind = { SPEC_STRING, SPEC_REGEXP },
			   .n = 2,
			   .regexps = evil,
			   .n_regexps = 1 };
	char out[1100], in[64];

	(void)state;
	memset(in, 'a', sizeof(in));
	assert_int_equal(decode_bytes(&c, in, sizeof(in), out, NULL), -EINVAL);
}

/* --- tables from files --- */

static char folder[] = "/tmp/test_decode.XXXXXX";
static char kallsyms[64], pci_ids[64], partitions[64], cgroups[64];

static void write_file(const char *path, const char *text, const char *mode)
{
	FILE *f = fopen(path, mode);

	assert_non_null(f);
	assert_int_equal(fputs(text, f) >= 0, 1);
	assert_int_equal(fclose(f), 0);
}

static void ksym_names_the_symbol_before(void **state)
{
	(void)state;
	write_file(kallsyms, "0000000000000006 T call_six\n", "w");
	expect(SPEC_KSYM, "\x06\0\0\0\0\0\0\0", 8, "call_six");
	write_file(kallsyms,
		   "0000000000000007 T call_seven\n"
		   "0000000000000100 t bpf_prog_1_x\t[bpf]\n",
		   "w");
	expect(SPEC_KSYM, "\x06\0\0\0\0\0\0\0", 8, "unknown_addr:0x6");
	expect(SPEC_KSYM, "\x09\0\0\0\0\0\0\0", 8, "call_seven");
	expect(SPEC_KSYM, "\0\x01\0\0\0\0\0\0", 8, "bpf_prog_1_x\t[bpf]");
}

#define A(x) x "\0\0\0\0\0\0\0"

static void kstack_is_a_symbol_a_line(void **state)
{
	struct spec_decoder one = { .kind = SPEC_KSTACK };
	struct spec_label l = { .decoders = &one, .n_decoders = 1 };
	static const struct {
		const char *in, *out;
	} v[] = {
		{ A("\0") A("\0") A("\0") A("\0"), "" },
		{ A("\4") A("\5") A("\6") A("\0"), "one\none\ntwo" },
		{ A("\xab") A("\x10") A("\6") A("\0"), "three\ntwo\ntwo" },
		{ A("\xab") A("\3") A("\0") A("\0"), "three\nzero" },
		{ A("\1") A("\xac") A("\1") A("\0"), "\?\?\nthree\n\?\?" },
	};
	struct buf out = { 0 };
	struct decode *d;
	const char *why;

	(void)state;
	write_file(kallsyms,
		   "0000000000000004 T one\n0000000000000006 T two\n"
		   "00000000000000aa T three\n",
		   "w");
	assert_int_equal(decode_new(&d, &options), 0);
	assert_int_equal(
		decode_label(d, &l, (const uint8_t *)v[0].in, 32, &out, &why),
		0);
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		/* What comes to the table later is found on a miss. */
		if (i == 3)
			write_file(kallsyms, "0000000000000002 T zero\n", "a");
		buf_reset(&out);
		assert_int_equal(decode_label(d, &l, (const uint8_t *)v[i].in,
					      32, &out, &why),
				 0);
		assert_string_equal(buf_str(&out), v[i].out);
	}
	decode_free(d);
	buf_fini(&out);
}

static void majorminor_reads_partitions(void **state)
{
	(void)state;
	write_file(partitions,
		   "major minor  #blocks  name\n\n"
		   "   8        0  500107608 sda\n"
		   "   8       16  500107608 sdb\n",
		   "w");
	expect(SPEC_MAJORMINOR, "\0\x08\0\0", 4, "sda");
	expect(SPEC_MAJORMINOR, "\x10\x08\0\0", 4, "sdb");
	expect(SPEC_MAJORMINOR, "\x10\x88\0\0", 4, "unknown:136:16");
}

static void cgroup_ids_are_inodes(void **state)
{
	char path[128], id[32], unknown[64];
	struct stat st;

	(void)state;
	snprintf(path, sizeof(path), "%s/system.slice", cgroups);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(stat(path, &st), 0);
	snprintf(id, sizeof(id), "%llu", (unsigned long long)st.st_ino);
	expect_text(SPEC_CGROUP, id, path);
	snprintf(unknown, sizeof(unknown), "unknown_cgroup_id:6");
	expect_text(SPEC_CGROUP, "6", unknown);
	assert_int_equal(rmdir(path), 0);
}

static void pci_without_its_file_says_so(void **state)
{
	(void)state;
	unlink(pci_ids);
	expect_text(SPEC_PCI_CLASS, "1", "missing pci.ids db");
	expect_text(SPEC_PCI_VENDOR, "32902", "missing pci.ids db");
	expect_text(SPEC_PCI_DEVICE, "2156269568", "missing pci.ids db");
	expect_text(SPEC_PCI_SUBCLASS, "264", "missing pci.ids db");
}

static void pci_names_come_from_its_file(void **state)
{
	struct decode_options was = options;

	(void)state;
	options.pci_ids = NULL;
	if (access("/usr/share/misc/pci.ids", R_OK) < 0) {
		options = was;
		skip();
	}
	expect_text(SPEC_PCI_CLASS, "1", "Mass storage controller");
	expect_text(SPEC_PCI_CLASS, "2", "Network controller");
	expect_text(SPEC_PCI_CLASS, "3", "Display controller");
	expect_text(SPEC_PCI_CLASS, "6", "Bridge");
	expect_text(SPEC_PCI_CLASS, "12", "Serial bus controller");
	expect_text(SPEC_PCI_CLASS, "253", "unknown pci class: 0xfd");
	expect_text(SPEC_PCI_SUBCLASS, "5", "Image coprocessor");
	expect_text(SPEC_PCI_SUBCLASS, "264", "Non-Volatile memory controller");
	expect_text(SPEC_PCI_SUBCLASS, "512", "Ethernet controller");
	expect_text(SPEC_PCI_SUBCLASS, "770", "3D controller");
	expect_text(SPEC_PCI_SUBCLASS, "3075", "USB controller");
	expect_text(SPEC_PCI_SUBCLASS, "1536", "Host bridge");
	expect_text(SPEC_PCI_SUBCLASS, "1540", "PCI bridge");
	expect_text(SPEC_PCI_SUBCLASS, "64768", "unknown pci class: 0xfd");
	expect_text(SPEC_PCI_SUBCLASS, "267",
		    "unknown pci subclass: 0x0b (class 0x01)");
	expect_text(SPEC_PCI_SUBCLASS, "3",
		    "unknown pci subclass: 0x03 (class 0x00)");
	expect_text(SPEC_PCI_VENDOR, "32902", "Intel Corporation");
	expect_text(SPEC_PCI_VENDOR, "4098",
		    "Advanced Micro Devices, Inc. [AMD/ATI]");
	expect_text(SPEC_PCI_VENDOR, "4318", "NVIDIA Corporation");
	expect_text(SPEC_PCI_VENDOR, "5555", "Mellanox Technologies");
	expect_text(SPEC_PCI_VENDOR, "5197", "Samsung Electronics Co Ltd");
	expect_text(SPEC_PCI_VENDOR, "48879", "unknown pci vendor: 0xbeef");
	expect_text(SPEC_PCI_DEVICE, "2156269568",
		    "82542 Gigabit Ethernet Controller (Fiber)");
	expect_text(SPEC_PCI_DEVICE, "282994436", "AD103 [GeForce RTX 4080]");
	expect_text(SPEC_PCI_DEVICE, "364056607",
		    "MT2894 Family [ConnectX-6 Lx]");
	expect_text(SPEC_PCI_DEVICE, "340633610",
		    "NVMe SSD Controller PM9A1/PM9A3/980PRO");
	expect_text(SPEC_PCI_DEVICE, "3735928559",
		    "unknown pci device: 0xdeadbeef");
	options = was;
}

static void syscalls_have_names(void **state)
{
	(void)state;
#ifdef __x86_64__
	expect_text(SPEC_SYSCALL, "0", "read");
	expect_text(SPEC_SYSCALL, "1", "write");
	expect_text(SPEC_SYSCALL, "293", "pipe2");
#else
	expect_text(SPEC_SYSCALL, "0", "io_setup");
	expect_text(SPEC_SYSCALL, "1", "io_destroy");
	expect_text(SPEC_SYSCALL, "293", "rseq");
#endif
	expect_text(SPEC_SYSCALL, "447", "memfd_secret");
	expect_text(SPEC_SYSCALL, "100000", "unknown_syscall:100000");
}

/* --- ours --- */

static void signed_numbers_keep_their_sign(void **state)
{
	(void)state;
	expect(SPEC_INT, "\xff", 1, "-1");
	expect(SPEC_INT, "\xfe\xff", 2, "-2");
	expect(SPEC_INT, "\xfd\xff\xff\xff", 4, "-3");
	expect(SPEC_INT, "\xfc\xff\xff\xff\xff\xff\xff\xff", 8, "-4");
	expect(SPEC_INT, "\x7f", 1, "127");
	expect(SPEC_BOOL, "\0", 1, "false");
	expect(SPEC_BOOL, "\1", 1, "true");
}

static void durations_are_written_as_go_does(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} v[] = {
		{ 0, "0s" },
		{ 1, "1ns" },
		{ 1100, "1.1\xc2\xb5s" },
		{ 2200000, "2.2ms" },
		{ 3300000000, "3.3s" },
		{ UINT64_C(245000000000), "4m5s" },
		{ UINT64_C(245001000000), "4m5.001s" },
		{ UINT64_C(18367001000000), "5h6m7.001s" },
		{ UINT64_C(480000000001), "8m0.000000001s" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++)
		expect(SPEC_DURATION, &v[i].ns, 8, v[i].text);
}

static bool process(void *arg, uint32_t pid, const char **service,
		    const char **container)
{
	(void)arg;
	*service = "shop";
	*container = pid == 2 ? "abc" : NULL;
	return pid < 3;
}

static void processes_have_names(void **state)
{
	uint32_t self = (uint32_t)getpid(), uid = 0;
	uint64_t tgid = (uint64_t)self << 32 | 12345;

	(void)state;
	expect(SPEC_COMM, &self, 4, "test_decode");
	expect(SPEC_EXE, &tgid, 8, "test_decode");
	expect(SPEC_COMM, "\xff\xff\xff\x7f", 4, "unknown:2147483647");
	expect(SPEC_USER, &uid, 4, "root");
	expect(SPEC_SERVICE, "\1\0\0\0", 4, "shop");
	expect(SPEC_SERVICE, "\3\0\0\0", 4, "unknown:3");
	expect(SPEC_CONTAINER, "\2\0\0\0", 4, "abc");
	expect(SPEC_CONTAINER, "\1\0\0\0", 4, "");
}

static void what_is_not_utf8_is_replaced_and_counted(void **state)
{
	struct chain c = { .kind = { SPEC_STRING }, .n = 1 };
	struct chain h = { .kind = { SPEC_DNAME }, .n = 1 };
	char out[1100];
	uint64_t replaced;

	(void)state;
	assert_int_equal(
		decode_bytes(&c, "a\xff\xc3\xa9\xc3", 5, out, &replaced), 0);
	assert_string_equal(out, "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd");
	assert_int_equal(replaced, 2);
	assert_int_equal(decode_bytes(&h, "\1\0", 2, out, &replaced), 0);
	assert_string_equal(out, "\xef\xbf\xbd");
	assert_int_equal(replaced, 1);
}

static void long_texts_are_cut(void **state)
{
	struct chain c = { .kind = { SPEC_STRING }, .n = 1 };
	char in[2000], out[1100];

	(void)state;
	memset(in, 'x', sizeof(in));
	assert_int_equal(decode_bytes(&c, in, sizeof(in), out, NULL), 0);
	assert_int_equal(strlen(out), 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(uint_reads_one_to_eight_bytes),
		cmocka_unit_test(string_ends_at_nul),
		cmocka_unit_test(hex_writes_each_byte),
		cmocka_unit_test(dname_joins_labels_with_dots),
		cmocka_unit_test(errno_has_names),
		cmocka_unit_test(ifname_asks_the_kernel),
		cmocka_unit_test(addresses_are_written_as_go_does),
		cmocka_unit_test(static_map_has_a_word_for_what_it_lacks),
		cmocka_unit_test(regexp_keeps_what_matches),
		cmocka_unit_test(regexp_refuses_what_re2_lacks),
		cmocka_unit_test(a_pattern_that_never_ends_is_cut_off),
		cmocka_unit_test(ksym_names_the_symbol_before),
		cmocka_unit_test(kstack_is_a_symbol_a_line),
		cmocka_unit_test(majorminor_reads_partitions),
		cmocka_unit_test(cgroup_ids_are_inodes),
		cmocka_unit_test(pci_without_its_file_says_so),
		cmocka_unit_test(pci_names_come_from_its_file),
		cmocka_unit_test(syscalls_have_names),
		cmocka_unit_test(signed_numbers_keep_their_sign),
		cmocka_unit_test(durations_are_written_as_go_does),
		cmocka_unit_test(processes_have_names),
		cmocka_unit_test(what_is_not_utf8_is_replaced_and_counted),
		cmocka_unit_test(long_texts_are_cut),
	};
	int failed;

	if (!mkdtemp(folder))
		return 1;
	snprintf(kallsyms, sizeof(kallsyms), "%s/kallsyms", folder);
	snprintf(pci_ids, sizeof(pci_ids), "%s/pci.ids", folder);
	snprintf(partitions, sizeof(partitions), "%s/partitions", folder);
	snprintf(cgroups, sizeof(cgroups), "%s", folder);
	options = (struct decode_options){ .kallsyms = kallsyms,
					   .partitions = partitions,
					   .pci_ids = pci_ids,
					   .cgroup_root = cgroups,
					   .process = process };
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(kallsyms);
	unlink(pci_ids);
	unlink(partitions);
	rmdir(folder);
	return failed;
}
