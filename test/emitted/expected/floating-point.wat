;;     fmul.d fa0, fa0, fa1
;;     fadd.d fa0, fa0, fa2
;;     ret

(func (param $state i32) (param $pc i64) (param $budget i32) (param $nesting i32) (result i64 i32)
  (local i32 i64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 f64 i64)
  (block (;@1;)
    (block (;@2;)
      (block (;@3;)
        (local.set 4 (i32.load (;bank;) (local.get $state)))
        (local.set 5 (i64.load (;x[1];) (local.get $state)))
        (local.set 6 (f64.load (;f[10];) (local.get $state)))
        (local.set 7 (f64.load (;f[11];) (local.get $state)))
        (local.set 8 (f64.load (;f[12];) (local.get $state)))
        (br_if 0 (;@3;) (i32.lt_s (local.get $budget) (i32.const 3)))
        (local.set $budget (i32.sub (local.get $budget) (i32.const 3)))
        (br_if 1 (;@2;) (i32.eqz (i32.and (i32.load (;mstatus;) (local.get $state)) (i32.const 24576))))
        (br_if 1 (;@2;)
          (i32.eqz (i64.eq (i64.and (i64.load (;fflags;) (local.get $state)) (i64.const -4294967295)) (i64.const 1))))
        (local.set 10 (local.get 6))
        (local.set 11 (local.get 7))
        (local.set 9 (f64.mul (local.get 10) (local.get 11)))
        (if (;@4;)
          (i32.eqz
            (i32.lt_u
              (i32.sub
                (i32.and (i32.wrap_i64 (i64.shr_u (i64.reinterpret_f64 (local.get 9)) (i64.const 52))) (i32.const 2047))
                (i32.const 2))
              (i32.const 2045)))
          (then
            (local.set 12 (f64.const 0x0p+0 (;=0;)))
            (local.set 13 (f64.const 0x0p+0 (;=0;)))
            (local.set 14 (f64.const 0x0p+0 (;=0;)))
            (br_if 2 (;@2;)
              (i32.eqz
                (i32.and
                  (i32.or (f64.eq (local.get 10) (local.get 12)) (f64.eq (local.get 11) (local.get 13)))
                  (f64.eq (local.get 9) (local.get 14)))))))
        (local.set 6 (local.get 9))
        (i32.store (;mstatus;) (local.get $state) (i32.or (i32.load (;mstatus;) (local.get $state)) (i32.const 24576)))
        (br_if 2 (;@1;)
          (i32.eqz (i64.eq (i64.and (i64.load (;fflags;) (local.get $state)) (i64.const -4294967295)) (i64.const 1))))
        (local.set 16 (local.get 6))
        (local.set 17 (local.get 8))
        (local.set 15 (f64.add (local.get 16) (local.get 17)))
        (br_if 2 (;@1;)
          (i32.eqz
            (i32.ne
              (i32.and (i32.wrap_i64 (i64.shr_u (i64.reinterpret_f64 (local.get 15)) (i64.const 52))) (i32.const 2047))
              (i32.const 2047))))
        (local.set 6 (local.get 15))
        (local.set 18 (i64.and (i64.add (local.get 5) (i64.const 0)) (i64.const -2)))
        (f64.store (;f[10];) (local.get $state) (local.get 6))
        (return (local.get 18) (local.get $budget))
        (unreachable))
      (i32.store (;interpretOne;) (local.get $state) (i32.const 1))
      (return (local.get $pc) (local.get $budget)))
    (i32.store (;interpretOne;) (local.get $state) (i32.const 1))
    (return (local.get $pc) (i32.add (local.get $budget) (i32.const 3))))
  (f64.store (;f[10];) (local.get $state) (local.get 6))
  (i32.store (;interpretOne;) (local.get $state) (i32.const 1))
  (return (i64.add (local.get $pc) (i64.const 4)) (i32.add (local.get $budget) (i32.const 2)))
  (unreachable))
