;;     add s0, a0, a1
;;     call leaf
;;     add a0, a0, s0
;;     jr s1
;; leaf:
;;     slli a0, a0, 1
;;     addi a0, a0, 5
;;     ret

(func (param $state i32) (param $pc i64) (param $budget i32) (param $nesting i32) (result i64 i32)
  (local i32 i64 i64 i64 i64 i64 i64 i64 i32)
  (block (;@1;)
    (local.set 4 (i32.load (;bank;) (local.get $state)))
    (local.set 5 (i64.load (;x[9];) (local.get $state)))
    (local.set 6 (i64.load (;x[10];) (local.get $state)))
    (local.set 7 (i64.load (;x[11];) (local.get $state)))
    (br_if 0 (;@1;) (i32.lt_s (local.get $budget) (i32.const 8)))
    (local.set $budget (i32.sub (local.get $budget) (i32.const 3)))
    (local.set 8 (i64.add (local.get 6) (local.get 7)))
    (local.set 9 (i64.add (i64.add (local.get $pc) (i64.const 4)) (i64.const 0)))
    (local.set 10 (i64.and (i64.add (local.get 9) (i64.const 16)) (i64.const -2)))
    (local.set 9 (i64.add (local.get $pc) (i64.const 12)))
    (local.set $budget (i32.sub (local.get $budget) (i32.const 3)))
    (local.set 6 (i64.shl (local.get 6) (i64.const 1)))
    (local.set 6 (i64.add (local.get 6) (i64.const 5)))
    (local.set 10 (i64.and (i64.add (local.get 9) (i64.const 0)) (i64.const -2)))
    (local.set $budget (i32.sub (local.get $budget) (i32.const 2)))
    (local.set 6 (i64.add (local.get 6) (local.get 8)))
    (local.set 10 (i64.and (i64.add (local.get 5) (i64.const 0)) (i64.const -2)))
    (i64.store (;x[1];) (local.get $state) (local.get 9))
    (i64.store (;x[8];) (local.get $state) (local.get 8))
    (i64.store (;x[10];) (local.get $state) (local.get 6))
    (local.set 11 (local.get 10))
    (local.set 12
      (i32.add
        (i32.add (local.get 4) (i32.and (i32.shl (i32.wrap_i64 (local.get 11)) (i32.const 3)) (i32.const 131056)))
        (i32.const 81920)))
    (if (;@2;)
      (i64.ne (i64.load (local.get 12)) (local.get 11))
      (then
        (return_call $jump (local.get $state) (local.get 11) (local.get $budget) (local.get $nesting))))
    (return_call_indirect
      (type 0)
      (local.get $state)
      (local.get 11)
      (local.get $budget)
      (local.get $nesting)
      (i32.load offset=8 (local.get 12)))
    (unreachable))
  (i32.store (;interpretOne;) (local.get $state) (i32.const 1))
  (return (local.get $pc) (local.get $budget))
  (unreachable))
