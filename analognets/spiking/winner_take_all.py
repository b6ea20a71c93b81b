"""proto"""
from __future__ import annotations
import numpy as np
from scipy.signal import lfilter
from analognets.devices.memristor import CuSiO2Memristor

class WTA:
    def __init__(self, inputs, neurons, device, *, steps=100, dt=1.0, max_rate=100., tau=100., hold=5, theta_plus=0.05, theta_decay=1e-4, v_th=5.0, offset=0.3, tau_pre=20., seed=0, read_every=100):
        self.n, self.N, self.device = inputs, neurons, device
        self.T, self.dt, self.max_rate, self.tau, self.hold = steps, dt, max_rate, tau, hold
        self.theta_plus, self.theta_decay, self.v_th, self.offset, self.tau_pre = theta_plus, theta_decay, v_th, offset, tau_pre
        rng = np.random.default_rng([seed, 1])
        self.g = (device.g_min + device.range * rng.uniform(0.3, 0.7, (neurons, inputs))).astype('float32')
        self.up = np.maximum(1+device.device_spread*rng.standard_normal((neurons, inputs)),.05).astype('float32')
        self.down = np.maximum(1+device.device_spread*rng.standard_normal((neurons, inputs)),.05).astype('float32')
        self.theta = np.zeros(neurons, 'float32')
        self.seed = seed
        self.decay = np.float32(np.exp(-dt/tau))
        self.powers = (self.decay ** np.arange(steps+1)).astype('float32')
    def weights(self):
        return (self.g - self.device.g_min) * np.float32(1/self.device.range)
    def raster(self, image, rng):
        active = np.flatnonzero(image)
        p = image[active] * np.float32(self.max_rate*self.dt/1000)
        return active, (rng.random((self.T, len(active)), dtype=np.float32) < p).astype('float32')
    def present(self, image, rng, learn):
        active, s = self.raster(image, rng)
        w = (self.g[:, active] - self.device.g_min) * np.float32(1/self.device.range)
        free = lfilter([1.0], [1.0, -self.decay], s @ w.T, axis=0).astype('float32') if False else _filt(s @ w.T, self.decay)
        counts = np.zeros(self.N, np.int32)
        if learn:
            idx = np.where(s > 0, np.arange(self.T, dtype='float32')[:, None], -1e6)
            last = np.maximum.accumulate(idx, axis=0)
        start = 0
        base = None
        while start < self.T:
            v = free[start:]
            if base is not None:
                v = v - self.powers[1:self.T - start + 1, None] * base
            over = v - (self.v_th + self.theta)
            hit = (over >= 0).any(1)
            k = int(hit.argmax())
            if not hit[k]: break
            j = int(over[k].argmax())
            t = start + k
            counts[j] += 1
            if learn:
                self.theta[j] += self.theta_plus
                share = np.full(self.n, -self.offset, 'float32')
                share[active] += np.exp((last[t] - t) * np.float32(self.dt/self.tau_pre))
                g = self.device.moved(self.g[j], share, self.up[j], self.down[j], rng.standard_normal(self.n, dtype=np.float32))
                self.g[j] = g
                wj = (g[active] - self.device.g_min) * np.float32(1/self.device.range)
                free[:, j] = _filt((s @ wj)[:, None], self.decay)[:, 0]
            start = t + 1 + self.hold
            base = free[min(start, self.T) - 1].copy()
        if learn:
            self.theta *= np.float32(1 - self.theta_decay)
        return counts

def _filt(c, a):
    return lfilter(np.array([1.0], 'float32'), np.array([1.0, -a], 'float32'), c, axis=0)
