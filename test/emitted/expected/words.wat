;;     addw a0, a0, a1
;;     xor a2, a0, a0
;;     slliw a2, a0, 3
;;     sraiw a0, a2, 1
;;     ret

(func (param $state i32) (param $pc i64) (param $budget i32) (param $nesting i32) (result i64 i32)
  (local i32 i64 i64 i64 i32 i32 i64)
  (block (;@1;)
    (local.set 4 (i32.load (;bank;) (local.get $state)))
    (local.set 5 (i64.load (;x[1];) (local.get $state)))
    (local.set 6 (i64.load (;x[10];) (local.get $state)))
    (local.set 7 (i64.load (;x[11];) (local.get $state)))
    (br_if 0 (;@1;) (i32.lt_s (local.get $budget) (i32.const 5)))
    (local.set $budget (i32.sub (local.get $budget) (i32.const 5)))
    (local.set 8 (i32.add (i32.wrap_i64 (local.get 6)) (i32.wrap_i64 (local.get 7))))
    (local.set 9 (i32.xor (local.get 8) (local.get 8)))
    (local.set 9 (i32.shl (i32.wrap_i64 (i64.extend_i32_s (local.get 8))) (i32.wrap_i64 (i64.const 3))))
    (local.set 8 (i32.shr_s (i32.wrap_i64 (i64.extend_i32_s (local.get 9))) (i32.wrap_i64 (i64.const 1))))
    (local.set 10 (i64.and (i64.add (local.get 5) (i64.const 0)) (i64.const -2)))
    (i64.store (;x[10];) (local.get $state) (i64.extend_i32_s (local.get 8)))
    (i64.store (;x[12];) (local.get $state) (i64.extend_i32_s (local.get 9)))
    (return (local.get 10) (local.get $budget))
    (unreachable))
  (i32.store (;interpretOne;) (local.get $state) (i32.const 1))
  (return (local.get $pc) (local.get $budget))
  (unreachable))
