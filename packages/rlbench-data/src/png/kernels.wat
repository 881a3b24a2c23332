;; The pixels of 8-bit RGB PNGs: their row filters are undone (PNG specification, section 9.2), and images of 24-bit
;; depth become metres. `npm run build:kernels` compiles this to kernels-wasm.ts.
(module
  (memory (export "memory") 16)

  ;; rows: [height, 1 + stride], each row's filter and bytes. out: [height, stride]; the row above lies before it.
  ;; Returns how many rows were undone: fewer than height where a row has an unknown filter. Up to 16 bytes beyond rows
  ;; are read, and as many beyond out written.
  (func (export "unfilter") (param $rows i32) (param $out i32) (param $stride i32) (param $height i32) (result i32)
    (local $y i32)
    (local $filter i32)
    (local $above i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $y) (local.get $height)))
        (local.set $filter (i32.load8_u (local.get $rows)))
        (local.set $rows (i32.add (local.get $rows) (i32.const 1)))
        (local.set $above (i32.sub (local.get $out) (local.get $stride)))
        (block $known
          (block $paeth
            (block $average
              (block $up
                (block $sub
                  (block $none
                    (br_table $none $sub $up $average $paeth $done (local.get $filter)))
                  (memory.copy (local.get $out) (local.get $rows) (local.get $stride))
                  (br $known))
                (call $sub (local.get $rows) (local.get $out) (local.get $stride))
                (br $known))
              (call $up (local.get $rows) (local.get $out) (local.get $above) (local.get $stride))
              (br $known))
            (call $average (local.get $rows) (local.get $out) (local.get $above) (local.get $stride))
            (br $known))
          (call $paeth (local.get $rows) (local.get $out) (local.get $above) (local.get $stride)))
        (local.set $rows (i32.add (local.get $rows) (local.get $stride)))
        (local.set $out (i32.add (local.get $out) (local.get $stride)))
        (local.set $y (i32.add (local.get $y) (i32.const 1)))
        (br $next)))
    (local.get $y))

  (func $sub (param $raw i32) (param $out i32) (param $stride i32)
    (local $end i32)
    (local $left v128)
    (local.set $end (i32.add (local.get $raw) (local.get $stride)))
    (loop $next
      (local.set $left (i8x16.add (local.get $left) (v128.load32_zero (local.get $raw))))
      (v128.store32_lane 0 (local.get $out) (local.get $left))
      (local.set $out (i32.add (local.get $out) (i32.const 3)))
      (br_if $next
        (i32.lt_u (local.tee $raw (i32.add (local.get $raw) (i32.const 3))) (local.get $end)))))

  ;; What is written beyond the row is written again with the next one.
  (func $up (param $raw i32) (param $out i32) (param $above i32) (param $stride i32)
    (local $end i32)
    (local.set $end (i32.add (local.get $raw) (local.get $stride)))
    (loop $next
      (v128.store (local.get $out) (i8x16.add (v128.load (local.get $raw)) (v128.load (local.get $above))))
      (local.set $out (i32.add (local.get $out) (i32.const 16)))
      (local.set $above (i32.add (local.get $above) (i32.const 16)))
      (br_if $next
        (i32.lt_u (local.tee $raw (i32.add (local.get $raw) (i32.const 16))) (local.get $end)))))

  (func $average (param $raw i32) (param $out i32) (param $above i32) (param $stride i32)
    (local $end i32)
    (local $left v128)
    (local $over v128)
    (local.set $end (i32.add (local.get $raw) (local.get $stride)))
    (loop $next
      (local.set $over (v128.load32_zero (local.get $above)))
      ;; avgr rounds up, the filter down.
      (local.set $left
        (i8x16.add
          (v128.load32_zero (local.get $raw))
          (i8x16.sub
            (i8x16.avgr_u (local.get $left) (local.get $over))
            (v128.and (v128.xor (local.get $left) (local.get $over)) (i8x16.splat (i32.const 1))))))
      (v128.store32_lane 0 (local.get $out) (local.get $left))
      (local.set $out (i32.add (local.get $out) (i32.const 3)))
      (local.set $above (i32.add (local.get $above) (i32.const 3)))
      (br_if $next
        (i32.lt_u (local.tee $raw (i32.add (local.get $raw) (i32.const 3))) (local.get $end)))))

  ;; Of left, above and upper left, Paeth's predictor is the one nearest to left + above - upper left, in doubt the first.
  ;; That is, with threshold = 3 upper left - left - above: the lesser of left and above where the greater is at most the
  ;; threshold, the greater where the threshold is at most the lesser, and else upper left.
  (func $paeth (param $raw i32) (param $out i32) (param $above i32) (param $stride i32)
    (local $end i32)
    (local $left v128)
    (local $over v128)
    (local $upperLeft v128)
    (local $threshold v128)
    (local $least v128)
    (local $most v128)
    (local.set $end (i32.add (local.get $raw) (local.get $stride)))
    (loop $next
      (local.set $over (i16x8.extend_low_i8x16_u (v128.load32_zero (local.get $above))))
      (local.set $threshold
        (i16x8.sub
          (i16x8.sub
            (i16x8.add (i16x8.add (local.get $upperLeft) (local.get $upperLeft)) (local.get $upperLeft))
            (local.get $over))
          (local.get $left)))
      (local.set $least (i16x8.min_s (local.get $left) (local.get $over)))
      (local.set $most (i16x8.max_s (local.get $left) (local.get $over)))
      (local.set $left
        (v128.and
          (i16x8.add
            (i16x8.extend_low_i8x16_u (v128.load32_zero (local.get $raw)))
            (v128.bitselect
              (local.get $most)
              (v128.bitselect
                (local.get $least)
                (local.get $upperLeft)
                (i16x8.ge_s (local.get $threshold) (local.get $most)))
              (i16x8.le_s (local.get $threshold) (local.get $least))))
          (i16x8.splat (i32.const 255))))
      (v128.store32_lane 0 (local.get $out) (i8x16.narrow_i16x8_u (local.get $left) (local.get $left)))
      (local.set $upperLeft (local.get $over))
      (local.set $out (i32.add (local.get $out) (i32.const 3)))
      (local.set $above (i32.add (local.get $above) (i32.const 3)))
      (br_if $next
        (i32.lt_u (local.tee $raw (i32.add (local.get $raw) (i32.const 3))) (local.get $end)))))

  ;; rgb: [count, 3], numbers of 24 bits; out: f32 [count], near + number * step, computed in f64. Up to three more are
  ;; written.
  (func (export "metres") (param $rgb i32) (param $out i32) (param $count i32) (param $near f64) (param $step f64)
    (local $end i32)
    (local $numbers v128)
    (local $nears v128)
    (local $scale v128)
    (local.set $end (i32.add (local.get $out) (i32.shl (local.get $count) (i32.const 2))))
    (local.set $nears (f64x2.splat (local.get $near)))
    (local.set $scale (f64x2.splat (local.get $step)))
    (loop $next
      (local.set $numbers
        (i8x16.swizzle
          (v128.load (local.get $rgb))
          (v128.const i8x16 2 1 0 -1 5 4 3 -1 8 7 6 -1 11 10 9 -1)))
      (v128.store64_lane 0 (local.get $out)
        (f32x4.demote_f64x2_zero
          (f64x2.add
            (f64x2.mul (f64x2.convert_low_i32x4_u (local.get $numbers)) (local.get $scale))
            (local.get $nears))))
      (v128.store64_lane offset=8 0 (local.get $out)
        (f32x4.demote_f64x2_zero
          (f64x2.add
            (f64x2.mul
              (f64x2.convert_low_i32x4_u
                (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $numbers) (local.get $numbers)))
              (local.get $scale))
            (local.get $nears))))
      (local.set $rgb (i32.add (local.get $rgb) (i32.const 12)))
      (br_if $next
        (i32.lt_u (local.tee $out (i32.add (local.get $out) (i32.const 16))) (local.get $end))))))
