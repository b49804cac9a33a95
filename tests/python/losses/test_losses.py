import math

import pytest
import reference
import torch
from torch.autograd import gradcheck, gradgradcheck

from notellm.losses import LossTerm, csft_loss, csft_term, gcl_loss, gcl_term, joint_loss

TAU = torch.tensor(3.0, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(3)


def random_embeddings(pairs, width=5, dtype=torch.float64):
    return torch.randn(2 * pairs, width, dtype=dtype) * 3


class TestGcl:
    @pytest.mark.parametrize("pairs", [1, 2, 7])
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
    def test_equals_eq_2_anchor_by_anchor(self, pairs, dtype, tolerance):
        embeddings = random_embeddings(pairs, dtype=dtype)
        expected = reference.nt_xent(embeddings, TAU.to(dtype))
        torch.testing.assert_close(
            gcl_loss(embeddings, TAU.to(dtype)), expected, rtol=tolerance, atol=tolerance
        )

    def test_masks_copies_of_the_anchor_and_of_its_partner(self):
        ids = torch.tensor([1, 2, 1, 3, 4, 2, 5, 5])  # copies across pairs, and a pair of one note twice
        embeddings = random_embeddings(4)
        actual = gcl_loss(embeddings, TAU, note_ids=ids)
        torch.testing.assert_close(actual, reference.nt_xent(embeddings, TAU, ids), rtol=1e-12, atol=1e-12)
        assert actual < gcl_loss(embeddings, TAU)

    def test_unique_ids_change_nothing(self):
        embeddings = random_embeddings(3)
        assert torch.equal(gcl_loss(embeddings, TAU), gcl_loss(embeddings, TAU, note_ids=torch.arange(6)))

    def test_a_batch_of_one_note_only_is_zero_not_nan(self):
        embeddings = random_embeddings(2).requires_grad_()
        loss = gcl_loss(embeddings, TAU, note_ids=torch.zeros(4, dtype=torch.int64))
        loss.backward()
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert embeddings.grad.isfinite().all()

    def test_scale_of_a_row_does_not_matter_and_order_of_pairs_does_not_matter(self):
        embeddings = random_embeddings(4)
        loss = gcl_loss(embeddings, TAU)
        torch.testing.assert_close(gcl_loss(embeddings * torch.rand(8, 1).double().add(0.1), TAU), loss)
        torch.testing.assert_close(gcl_loss(embeddings.view(4, 2, 5).flip(0).reshape(8, 5), TAU), loss)

    def test_gradients_of_both_orders(self):
        embeddings, tau = random_embeddings(3).requires_grad_(), torch.tensor(0.5).double().requires_grad_()
        ids = torch.tensor([0, 1, 2, 0, 3, 4])
        for loss in (gcl_loss, lambda e, t: gcl_loss(e, t, note_ids=ids)):
            assert gradcheck(loss, (embeddings, tau))
            assert gradgradcheck(loss, (embeddings, tau))

    def test_is_a_sum_and_a_count(self):
        embeddings = random_embeddings(3)
        term = gcl_term(embeddings, TAU)
        assert term.count == 6
        torch.testing.assert_close(term.sum / 6, gcl_loss(embeddings, TAU))

    @pytest.mark.parametrize(
        ("embeddings", "tau", "ids", "message"),
        [
            (
                torch.zeros(3, 2),
                torch.zeros(()),
                None,
                r"gcl_loss: .*even number of rows in pairs, but are \[3, 2\]",
            ),
            (torch.zeros(0, 2), torch.zeros(()), None, "even number of rows"),
            (
                torch.zeros(2, 2),
                torch.zeros(2),
                None,
                r"tau must be a scalar of a floating-point dtype, but is .* of shape \[2\]",
            ),
            (torch.zeros(2, 2), torch.zeros(()), torch.zeros(3), r"note_ids must be \(2\) of int64"),
            (
                torch.zeros(2, 2, dtype=torch.int64),
                torch.zeros(()),
                None,
                r"embeddings must be \(\*, \*\) of a floating-point dtype",
            ),
        ],
    )
    def test_refuses(self, embeddings, tau, ids, message):
        with pytest.raises(ValueError, match=message):
            gcl_loss(embeddings, tau, note_ids=ids)


class TestCsft:
    OFFSETS = torch.tensor([0, 3, 3, 4, 9])  # the second note has no output

    def batch(self):
        return torch.randn(9, 11, dtype=torch.float64), torch.randint(0, 11, (9,))

    @pytest.mark.parametrize("reduction", ["note", "token"])
    def test_equals_eq_3_note_by_note(self, reduction):
        logits, labels = self.batch()
        sizes = self.OFFSETS.diff().tolist()
        expected = reference.generative(list(logits.split(sizes)), list(labels.split(sizes)), reduction)
        torch.testing.assert_close(csft_loss(logits, labels, self.OFFSETS, reduction=reduction), expected)

    def test_counts_notes_with_an_output_or_tokens(self):
        logits, labels = self.batch()
        assert csft_term(logits, labels, self.OFFSETS).count == 3
        assert csft_term(logits, labels, self.OFFSETS, reduction="token").count == 9

    def test_adding_a_constant_to_logits_changes_nothing(self):
        logits, labels = self.batch()
        torch.testing.assert_close(
            csft_loss(logits + 1000, labels, self.OFFSETS), csft_loss(logits, labels, self.OFFSETS)
        )

    @pytest.mark.parametrize("reduction", ["note", "token"])
    def test_gradients_of_both_orders(self, reduction):
        logits, labels = self.batch()
        logits.requires_grad_()

        def loss(x):
            return csft_loss(x, labels, self.OFFSETS, reduction=reduction)

        assert gradcheck(loss, logits)
        assert gradgradcheck(loss, logits)

    def test_no_labels_is_a_term_of_count_zero(self):
        term = csft_term(torch.zeros(0, 5), torch.zeros(0, dtype=torch.int64), torch.tensor([0, 0]))
        assert (term.count, term.sum.item()) == (0, 0.0)

    @pytest.mark.parametrize(
        ("labels", "offsets", "error", "message"),
        [
            ([0, 5], [0, 2], IndexError, r"labels must be in \[0, 5\), but are in \[0, 5\]"),
            ([0, -1], [0, 2], IndexError, r"labels must be in \[0, 5\)"),
            ([0, 1, 2], [0, 3], ValueError, r"labels must be \(2\) of int64, but is int64 \[3\]"),
            ([0, 1], [0, 3], ValueError, "must ascend from 0 to the number of labels, 2"),
            ([0, 1], [0, 3, 2], ValueError, "must ascend"),
        ],
    )
    def test_refuses(self, labels, offsets, error, message):
        with pytest.raises(error, match=message):
            csft_loss(torch.zeros(2, 5), torch.tensor(labels), torch.tensor(offsets))

    def test_refuses_an_unknown_reduction(self):
        with pytest.raises(ValueError, match="one of note, token, but is 'mean'"):
            csft_loss(torch.zeros(1, 2), torch.zeros(1).long(), torch.tensor([0, 1]), reduction="mean")


class TestJoint:
    def test_equals_eq_4(self):
        loss = joint_loss(LossTerm(torch.tensor(8.0), 4), LossTerm(torch.tensor(15.0), 3), alpha=0.25)
        assert loss.item() == pytest.approx((2 + 0.25 * 5) / 1.25)

    def test_micro_batches_with_the_whole_batch_s_counts_add_up(self):
        whole = joint_loss(LossTerm(torch.tensor(8.0), 4), LossTerm(torch.tensor(15.0), 3), alpha=0.25)
        parts = [
            joint_loss(LossTerm(torch.tensor(c), 4), LossTerm(torch.tensor(g), 3), alpha=0.25)
            for c, g in ((3.0, 5.0), (5.0, 10.0))
        ]
        assert sum(parts).item() == pytest.approx(whole.item())

    def test_an_empty_term_is_left_out(self):
        empty, full = LossTerm(torch.tensor(0.0), 0), LossTerm(torch.tensor(6.0), 3)
        assert joint_loss(full, empty, alpha=0.5).item() == pytest.approx(2 / 1.5)
        assert joint_loss(empty, full, alpha=0.5).item() == pytest.approx(0.5 * 2 / 1.5)

    @pytest.mark.parametrize("alpha", [-0.1, math.nan, math.inf])
    def test_refuses_a_bad_alpha(self, alpha):
        with pytest.raises(ValueError, match="joint_loss: alpha must be finite and at least 0"):
            joint_loss(torch.tensor(1.0), torch.tensor(1.0), alpha=alpha)

    def test_refuses_an_empty_batch(self):
        empty = LossTerm(torch.tensor(0.0), 0)
        with pytest.raises(ValueError, match="has neither"):
            joint_loss(empty, empty, alpha=0.1)
