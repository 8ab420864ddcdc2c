/* The programs, each an image that begins with its first instruction; process.c reads this table. */

	.macro	program name
	.section .rodata.names
name_\name:
	.asciz	"\name"
	.section .programs, "a"
	.balign	8
image_\name:
	.incbin	"\name\().bin"
end_\name:
	.section .rodata.table, "a"
	.dword	name_\name, image_\name, end_\name
	.endm

	.section .rodata.table, "a"
	.balign	8
	.globl	programs
programs:
	.irp	name, shell, true, syscall, pipe, fork, exec, memory, compute, preempt, entropy, check
	program \name
	.endr
	.section .rodata.table, "a"
	.dword	0, 0, 0
