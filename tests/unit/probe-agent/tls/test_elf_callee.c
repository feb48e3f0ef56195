/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <link.h>
#include <unistd.h>

#include "probe-agent/tls/elf_callee.h"

#ifdef __x86_64__

/* As compilers make them, with and without marks for indirect branches. */
__asm__(".text\n"
	"inner: push %r13\n	pop %r13\n	ret\n"
	"marked: endbr64\n	push %rbx\n	pop %rbx\n	ret\n"
	"heavy: sub $8,%rsp\n	add $8,%rsp\n	ret\n"
	"wrapper: sub $8,%rsp\n	call inner\n	add $8,%rsp\n	ret\n"
	"wrapper_marked: endbr64\n	sub $8,%rsp\n	call marked\n"
	"	add $8,%rsp\n	ret\n"
	"wrapper_heavy: sub $8,%rsp\n	call heavy\n	add $8,%rsp\n	ret\n"
	"thick: xor %esi,%esi\n	call inner\n	ret\n"
	"other: sub $24,%rsp\n	test %edx,%edx\n	js 1f\n"
	"	call inner\n	call marked\n	call heavy\n"
	"1:	add $24,%rsp\n	ret\n"
	"	.skip 96, 0xcc\n"
	"stranger: xor %eax,%eax\n	ret\n	.skip 96, 0xcc\n");
void inner(void), marked(void), wrapper(void), wrapper_marked(void),
	wrapper_heavy(void), thick(void), other(void), stranger(void);

struct place {
	uintptr_t at;
	uint64_t offset;
};

static int find_offset(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct place *p = arg;

	(void)size;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		uintptr_t begin = info->dlpi_addr + h->p_vaddr;

		if (h->p_type == PT_LOAD && p->at >= begin &&
		    p->at < begin + h->p_filesz) {
			p->offset = p->at - begin + h->p_offset;
			return 1;
		}
	}
	return 0;
}

/* Where the function is in this program's own file, by its headers. */
static uint64_t offset_of(void (*f)(void))
{
	struct place p = { .at = (uintptr_t)f };

	assert_int_equal(dl_iterate_phdr(find_offset, &p), 1);
	return p.offset;
}

static int self(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void what_two_functions_hand_on_to_is_found(void **state)
{
	int fd = self();

	(void)state;
	assert_int_equal(
		elf_callee_find(fd, offset_of(wrapper), offset_of(other)),
		offset_of(inner));
	/* The place is the push, behind the mark. */
	assert_int_equal(elf_callee_find(fd, offset_of(wrapper_marked),
					 offset_of(other)),
			 offset_of(marked) + 4);
	close(fd);
}

static void anything_else_is_left_alone(void **state)
{
	uint64_t end;
	int fd = self();

	(void)state;
	/* No push; arguments changed before; not called by the other. */
	assert_int_equal(
		elf_callee_find(fd, offset_of(wrapper_heavy), offset_of(other)),
		0);
	assert_int_equal(
		elf_callee_find(fd, offset_of(thick), offset_of(other)), 0);
	assert_int_equal(
		elf_callee_find(fd, offset_of(wrapper), offset_of(stranger)),
		0);
	/* Not there, or behind the end of the file. */
	end = (uint64_t)lseek(fd, 0, SEEK_END);
	assert_int_equal(elf_callee_find(fd, 0, offset_of(other)), 0);
	assert_int_equal(elf_callee_find(fd, offset_of(wrapper), 0), 0);
	assert_int_equal(elf_callee_find(fd, end - 4, offset_of(other)), 0);
	assert_int_equal(elf_callee_find(fd, offset_of(wrapper), UINT64_MAX),
			 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_two_functions_hand_on_to_is_found),
		cmocka_unit_test(anything_else_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

/* There is nothing to be found on other processors. */
static void nothing_is_found_elsewhere(void **state)
{
	(void)state;
	assert_int_equal(elf_callee_find(0, 1, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_found_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
