/* What can't be said in C: the first instructions, and where the bare machine's traps enter and leave. */

	.section .entry, "ax"
	.globl entry
entry:
	la	sp, kernel_stack_top
	mv	a0, a1
	j	boot

	.text

/* From a program: sscratch has the place of its registers. */
	.balign 4
	.globl trap_entry
trap_entry:
	csrrw	a0, sscratch, a0
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	sd	x\n, 8 * \n(a0)
	.endr
	csrr	t0, sscratch
	sd	t0, 8 * 10(a0)
	csrr	t0, sepc
	sd	t0, 0(a0)
	la	sp, kernel_stack_top
	j	trap

/* (registers): into the program. */
	.globl trap_return
trap_return:
	csrw	sscratch, a0
	ld	t0, 0(a0)
	csrw	sepc, t0
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
	ld	x\n, 8 * \n(a0)
	.endr
	ld	a0, 8 * 10(a0)
	sret

	.bss
	.balign 4096
	.globl kernel_stack_top
	.space	4 * 4096
kernel_stack_top:
