;;     addi sp, sp, -16
;;     call far
;;     addi sp, sp, 16
;;     ret
;;     .zero 512
;; far:
;;     ld a0, 0(a0)
;;     ecall
;;     ret

(func (param $state i32) (param $pc i64) (param $budget i32) (param $nesting i32) (result i64 i32)
  (local i32 i64 i64 i64 i64 i64 i32 i32)
  (block (;@1;)
    (block (;@2;)
      (block (;@3;)
        (local.set 4 (i32.load (;bank;) (local.get $state)))
        (local.set 5 (i64.load (;x[2];) (local.get $state)))
        (br_if 0 (;@3;) (i32.lt_s (local.get $budget) (i32.const 3)))
        (local.set $budget (i32.sub (local.get $budget) (i32.const 3)))
        (local.set 5 (i64.add (local.get 5) (i64.const -16)))
        (local.set 6 (i64.add (i64.add (local.get $pc) (i64.const 4)) (i64.const 0)))
        (local.set 7 (i64.and (i64.add (local.get 6) (i64.const 528)) (i64.const -2)))
        (local.set 6 (i64.add (local.get $pc) (i64.const 12)))
        (i64.store (;x[1];) (local.get $state) (local.get 6))
        (i64.store (;x[2];) (local.get $state) (local.get 5))
        (local.set 8 (i64.add (local.get $pc) (i64.const 532)))
        (br_if 1 (;@2;) (i32.eqz (local.get $nesting)))
        (local.set 10 (i32.sub (local.get $nesting) (i32.const 1)))
        (local.set 11
          (i32.add
            (i32.add (local.get 4) (i32.and (i32.shl (i32.wrap_i64 (local.get 8)) (i32.const 3)) (i32.const 131056)))
            (i32.const 81920)))
        (if (;@4;)
          (i64.ne (i64.load (local.get 11)) (local.get 8))
          (then
            (call $jump (local.get $state) (local.get 8) (local.get $budget) (local.get 10))
            (local.set $budget)
            (local.set 9))
          (else
            (call_indirect
              (type 0)
              (local.get $state)
              (local.get 8)
              (local.get $budget)
              (local.get 10)
              (i32.load offset=8 (local.get 11)))
            (local.set $budget)
            (local.set 9)))
        (if (;@4;)
          (i64.ne (local.get 9) (i64.add (local.get $pc) (i64.const 12)))
          (then
            (call $recover
              (local.get $state)
              (local.get 9)
              (local.get $budget)
              (local.get 10)
              (i64.add (local.get $pc) (i64.const 12)))
            (local.set $budget)
            (local.set 9)
            (if (;@5;)
              (i64.ne (local.get 9) (i64.add (local.get $pc) (i64.const 12)))
              (then
                (return (local.get 9) (local.get $budget))))))
        (local.set 4 (i32.load (;bank;) (local.get $state)))
        (br_if 2 (;@1;) (i32.lt_s (local.get $budget) (i32.const 2)))
        (local.set 6 (i64.load (;x[1];) (local.get $state)))
        (local.set 5 (i64.load (;x[2];) (local.get $state)))
        (local.set $budget (i32.sub (local.get $budget) (i32.const 2)))
        (local.set 5 (i64.add (local.get 5) (i64.const 16)))
        (local.set 9 (i64.and (i64.add (local.get 6) (i64.const 0)) (i64.const -2)))
        (i64.store (;x[2];) (local.get $state) (local.get 5))
        (return (local.get 9) (local.get $budget))
        (unreachable))
      (i32.store (;interpretOne;) (local.get $state) (i32.const 1))
      (return (local.get $pc) (local.get $budget)))
    (return (local.get 8) (local.get $budget)))
  (i32.store (;interpretOne;) (local.get $state) (i32.const 1))
  (return (i64.add (local.get $pc) (i64.const 12)) (local.get $budget))
  (unreachable))
