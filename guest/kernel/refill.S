/* A program's TLB miss, on a machine whose TLB software fills (docs/software-tlb.md): from the tables of Sv39, their root in satp, to an entry. */

	.set	stlblo, 0x5c4
	.set	stlbop, 0x5c6
	.set	stlbscratch0, 0x5c8
	.set	stlbscratch1, 0x5c9
	.set	write_next, 2

/* t0: a table; then its entry for the address that missed. */
	.macro	look_up shift
	csrr	t1, stval
	srli	t1, t1, \shift
	andi	t1, t1, 511
	slli	t1, t1, 3
	add	t0, t0, t1
	ld	t0, 0(t0)
	andi	t1, t0, 1
	beqz	t1, absent
	.endm

/* t0: an entry; then the table that it names. */
	.macro	follow
	slli	t0, t0, 10
	srli	t0, t0, 20
	slli	t0, t0, 12
	.endm

	.text
	.balign 4
	.globl refill
refill:
	csrw	stlbscratch0, t0
	csrw	stlbscratch1, t1
	/* Sv39 has 39 bits, and programs have the lower half. */
	csrr	t1, stval
	srli	t1, t1, 38
	bnez	t1, absent
	csrr	t0, satp
	slli	t0, t0, 20
	srli	t0, t0, 8
	look_up	30
	follow
	look_up	21
	follow
	look_up	12
	csrw	stlblo, t0
	csrwi	stlbop, write_next
	csrr	t1, stlbscratch1
	csrr	t0, stlbscratch0
	sret
absent:
	csrr	t1, stlbscratch1
	csrr	t0, stlbscratch0
	j	trap_entry
