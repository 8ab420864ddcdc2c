"""Numbers: a Mandelbrot set in floats, digits of pi in big integers, a sieve in a byte array."""
import sys


def mandelbrot(size):
    inside = 0
    for row in range(size):
        for column in range(size):
            c = complex(3.0 * column / size - 2.2, 2.4 * row / size - 1.2)
            z = 0j
            for _ in range(30):
                z = z * z + c
                if z.real * z.real + z.imag * z.imag > 4.0:
                    break
            else:
                inside += 1
    return inside


def pi_digits(count):
    """Machin's formula in fixed point: pi = 16 arctan(1/5) - 4 arctan(1/239)."""
    unit = 10 ** (count + 10)

    def arctan_inverse(x):
        power = total = unit // x
        divisor, sign = 3, -1
        while power := power // (x * x):
            total += sign * (power // divisor)
            divisor, sign = divisor + 2, -sign
        return total

    return (16 * arctan_inverse(5) - 4 * arctan_inverse(239)) // 10**10


def primes(limit):
    marks = bytearray([1]) * limit
    marks[0:2] = b"\0\0"
    for n in range(2, int(limit**0.5) + 1):
        if marks[n]:
            marks[n * n :: n] = bytes(len(range(n * n, limit, n)))
    return sum(marks)


def main():
    iterations = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    checksum = 0
    for n in range(iterations):
        checksum = checksum * 31 + mandelbrot(30 + n % 4)
        digits = pi_digits(300 + n % 10)
        assert str(digits).startswith("31415926535897932384626433832795")
        checksum += digits % 1000003
        assert primes(20000) == 2262
    print(f"numbers.py iterations={iterations} checksum={checksum % 2**64:016x}")


main()
