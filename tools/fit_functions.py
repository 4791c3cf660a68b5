#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fits the polynomials of src/backend/cpu/math_table.h.

A minimax fit by Lawson's weighted least squares, coefficients rounded to f32 one after
the other. Prints C hexadecimal floats and the largest weighted error before and after
rounding. Needs numpy and mpmath. Usage: fit_functions.py [NAME...]
"""

import sys

import mpmath as mp
import numpy as np
from numpy.polynomial import chebyshev

mp.mp.dps = 40
TAIL_SCALE = mp.mpf("3.28125")
TAIL_SHIFT = mp.mpf("1.21875")


def minimax(x, values, weights, low, high, degree):
    """The coefficients of the polynomial, lowest degree first."""
    t = (2 * x - low - high) / (high - low)
    basis = chebyshev.chebvander(t, degree)
    importance = np.ones_like(x)
    best_error, best = np.inf, None
    for _ in range(400):
        scale = np.sqrt(importance) * weights
        c = np.linalg.lstsq(basis * scale[:, None], values * scale, rcond=None)[0]
        error = np.abs(weights * (basis @ c - values))
        if error.max() < best_error:
            best_error, best = error.max(), importance.copy()
        importance = importance * (error + 1e-3 * error.max())
        importance /= importance.sum()
    return best_error, np.sqrt(best) * weights


def rounded(x, values, scale, degree):
    """Rounds one coefficient after the other to f32, fitting the rest anew."""
    powers = np.vander(x, degree + 1, increasing=True) * scale[:, None]
    fixed = []
    for index in range(degree + 1):
        rest = values * scale - powers[:, :index] @ np.array(fixed)
        c = np.linalg.lstsq(powers[:, index:], rest, rcond=None)[0]
        fixed.append(float(np.float32(c[0])))
    return np.float32(fixed)


def fit(name, function, weight, low, high, degree):
    low, high = float(low), float(high)
    k = np.arange(1500)
    x = (low + high) / 2 - (high - low) / 2 * np.cos(np.pi * (k + 0.5) / len(k))
    exact = [mp.mpf(float(v)) for v in x]
    values = np.array([float(function(v)) for v in exact])
    weights = np.array([float(weight(v)) for v in exact])
    ideal, scale = minimax(x, values, weights, low, high, degree)
    p = rounded(x, values, scale, degree)
    error = np.abs(weights * (np.polyval(p[::-1].astype(float), x) - values)).max()
    print(f"{name}: error 2^{np.log2(ideal):.2f}, rounded 2^{np.log2(error):.2f}")
    print("   ", ", ".join(c_float(v) for v in p))
    sys.stdout.flush()


def c_float(value):
    mantissa, exponent = float(value).hex().split("p")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}p{int(exponent)}f"


def expm1_rest(r):
    return (mp.expm1(r) - r) / r**2


def log1p_rest(f):
    return (mp.log1p(f) - f + f * f / 2) / f**3


def erf_over_x(z):
    return mp.erf(mp.sqrt(z)) / mp.sqrt(z)


def log_erfc_over_x(x):
    return mp.log(mp.erfc(x)) / x


def tail_w(t):
    return TAIL_SHIFT - TAIL_SCALE / (mp.mpf(t) + 1.5)


def normal_tail(w):
    t = TAIL_SCALE / (TAIL_SHIFT - w) - 1.5
    return mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2)) / 2 * (t + 1.5)


def sin_rest(z):
    return (mp.sin(mp.sqrt(z)) / mp.sqrt(z) - 1) / z


def cos_rest(z):
    return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2


def relative(function):
    return lambda x: 1 / function(x)


def main():
    wanted = sys.argv[1:]
    half_ln2 = mp.log(2) / 2 * mp.mpf("1.0005")
    quarter = (mp.pi / 4 * mp.mpf("1.001")) ** 2
    tiny = 1e-12
    fits = {
        # exp(r) = 1 + r + r^2 P(r)
        "exp": (expm1_rest, lambda r: r * r / mp.exp(r), -half_ln2, half_ln2, 4),
        # log(1 + f) = f - f^2 / 2 + f^3 P(f)
        "log": (log1p_rest, lambda f: abs(f**3 / mp.log1p(f)), -mp.mpf(1) / 3,
                mp.mpf(1) / 3, 7),
        # erf(x) = x + x P(x^2) below 1, 1 - exp(x P(x)) from 1 on
        "erf_small": (lambda z: erf_over_x(z) - 1, relative(erf_over_x), tiny, 1, 6),
        "erf_large": (log_erfc_over_x, lambda x: x * mp.erfc(x) / mp.erf(x), 1,
                      mp.mpf("3.93"), 5),
        # The normal distribution's tail below -t, times exp(t^2 / 2) (t + 1.5), as a
        # polynomial in w = 1.21875 - 3.28125 / (t + 1.5).
        "tail": (normal_tail, relative(normal_tail), tail_w(0), tail_w(14.7), 11),
        # sin(x) = x + x^3 P(x^2), cos(x) = 1 - x^2 / 2 + x^4 P(x^2)
        "sin": (sin_rest, lambda z: z, tiny, quarter, 3),
        "cos": (cos_rest, lambda z: z * z, tiny, quarter, 2),
    }
    for name, arguments in fits.items():
        if not wanted or name in wanted:
            fit(name, *arguments)


if __name__ == "__main__":
    main()
