;; from:
;;     jr a5
;; one:
;;     addi a0, a0, 1
;;     j out
;; two:
;;     addi a0, a0, 2
;;     j out
;; three:
;;     addi a0, a0, 3
;; out:
;;     ret

(func (param $state i32) (param $pc i64) (param $budget i32) (param $nesting i32) (result i64 i32)
  (local i32 i64 i64 i64 i64 i64 i32)
  (block (;@1;)
    (block (;@2;)
      (local.set 4 (i32.load (;bank;) (local.get $state)))
      (local.set 5 (i64.load (;x[1];) (local.get $state)))
      (local.set 6 (i64.load (;x[10];) (local.get $state)))
      (local.set 7 (i64.load (;x[15];) (local.get $state)))
      (block (;@3;)
        (block (;@4;)
          (block (;@5;)
            (block (;@6;)
              (br_if 4 (;@2;) (i32.lt_s (local.get $budget) (i32.const 4)))
              (local.set $budget (i32.sub (local.get $budget) (i32.const 1)))
              (local.set 8 (i64.and (i64.add (local.get 7) (i64.const 0)) (i64.const -2)))
              (local.set 9 (i64.sub (local.get 8) (i64.add (local.get $pc) (i64.const 4))))
              (br_if 5 (;@1;) (i64.ge_u (local.get 9) (i64.const 18)))
              (br_table 2 (;@4;) 5 (;@1;) 5 (;@1;) 5 (;@1;) 1 (;@5;) 5 (;@1;) 5 (;@1;) 5 (;@1;) 0 (;@6;) 5 (;@1;)
                (i32.wrap_i64 (i64.shr_u (local.get 9) (i64.const 1)))))
            (local.set $budget (i32.sub (local.get $budget) (i32.const 1)))
            (local.set 6 (i64.add (local.get 6) (i64.const 3)))
            (br 2 (;@3;)))
          (local.set $budget (i32.sub (local.get $budget) (i32.const 2)))
          (local.set 6 (i64.add (local.get 6) (i64.const 2)))
          (br 1 (;@3;)))
        (local.set $budget (i32.sub (local.get $budget) (i32.const 2)))
        (local.set 6 (i64.add (local.get 6) (i64.const 1))))
      (local.set $budget (i32.sub (local.get $budget) (i32.const 1)))
      (local.set 9 (i64.and (i64.add (local.get 5) (i64.const 0)) (i64.const -2)))
      (i64.store (;x[10];) (local.get $state) (local.get 6))
      (return (local.get 9) (local.get $budget))
      (unreachable))
    (i32.store (;interpretOne;) (local.get $state) (i32.const 1))
    (return (local.get $pc) (local.get $budget)))
  (local.set 9 (local.get 8))
  (local.set 10
    (i32.add
      (i32.add (local.get 4) (i32.and (i32.shl (i32.wrap_i64 (local.get 9)) (i32.const 3)) (i32.const 131056)))
      (i32.const 81920)))
  (if (;@1;)
    (i64.ne (i64.load (local.get 10)) (local.get 9))
    (then
      (return_call $jump (local.get $state) (local.get 9) (local.get $budget) (local.get $nesting))))
  (return_call_indirect
    (type 0)
    (local.get $state)
    (local.get 9)
    (local.get $budget)
    (local.get $nesting)
    (i32.load offset=8 (local.get 10)))
  (unreachable))
