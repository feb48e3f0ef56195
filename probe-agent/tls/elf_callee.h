/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBE_AGENT_TLS_ELF_CALLEE_H
#define PROBE_AGENT_TLS_ELF_CALLEE_H

#include <stdint.h>

/*
 * The function behind two functions of a library, by their code.
 *
 * A breakpoint of the kernel replaces an instruction. If that is a push, the
 * kernel does what it does itself; anything else it has the processor do, alone
 * and out of place, which takes a second trap: 1.0 against 9.8 us measured on
 * a virtual machine. OpenSSL's SSL_read() begins with a sub, and the function
 * that it and SSL_read_ex() hand their arguments to, with a push.
 */

/*
 * wrapper, other: offsets in the file fd of two functions of the same section.
 * If the first does nothing but call one function with the arguments it got,
 * and other calls that function too, and it begins with a push: the offset of
 * the push. 0: not so, or not x86-64 code. Nothing in the file is believed.
 */
uint64_t elf_callee_find(int fd, uint64_t wrapper, uint64_t other);

#endif /* PROBE_AGENT_TLS_ELF_CALLEE_H */
